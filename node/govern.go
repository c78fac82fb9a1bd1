package node

import (
	"cmp"
	"context"
	"time"

	"hearth/api"
	"hearth/core/fault"
	"hearth/storage/host"
)

// lookAtHours is how often the schedule of a host's limits is looked at.
const lookAtHours = 15 * time.Second

// keepHours has the limits of the hour hold until ctx ends.
func (s *selling) keepHours(ctx context.Context) {
	t := time.NewTicker(lookAtHours)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.govern()
		}
	}
}

// allowed is what holds now for bytes.
func (s *selling) allowed() host.Limits { return s.held().Limits }

// govern has the server keep to what holds now, and all that is computed for others.
func (s *selling) govern() {
	s.watchOwner()
	now := s.held()
	if s.door.Limits() != now.Limits {
		s.log.Info("limits", "up", now.Up, "down", now.Down, "paused", now.Paused)
		s.door.Limit(now.Limits)
	}
	s.holdBack(now)
}

// Limits shows what the owner allows.
func (r hostRole) Limits(context.Context) (api.HostLimits, error) {
	out, err := SavedLimits(r.s.n.dir)
	if err == nil {
		out.Now = r.s.limitsNow()
	}
	return out, err
}

// SetLimits writes the owner's wish into config.toml and makes it hold at once.
func (r hostRole) SetLimits(ctx context.Context, want api.HostLimits) (api.HostLimits, error) {
	r.s.setting.Lock()
	defer r.s.setting.Unlock()
	wish, err := settingsOf(want).parse()
	if err != nil {
		return api.HostLimits{}, fault.New(fault.BadRequest, "set limits: %w", err)
	}
	if _, err := SaveLimits(r.s.n.dir, want); err != nil {
		return api.HostLimits{}, err
	}
	r.s.mu.Lock()
	r.s.limits = wish
	r.s.mu.Unlock()
	r.s.govern()
	return r.Limits(ctx)
}

// settingsOf are limits as config.toml has them.
func settingsOf(l api.HostLimits) LimitSettings {
	return LimitSettings{
		Up: l.Up, Down: l.Down, CPU: l.CPU, Memory: l.Memory, WhenActive: l.WhenActive, ActiveFor: l.ActiveFor, Schedule: l.Schedule, Paused: l.Paused,
	}
}

// SavedLimits reads the limits in the config.toml of dir.
func SavedLimits(dir string) (api.HostLimits, error) {
	settings, err := LoadSettings(dir)
	if err != nil {
		return api.HostLimits{}, err
	}
	return limitsOf(settings)
}

// SaveLimits writes limits into the config.toml of dir. A node that runs there
// doesn't notice: it is told through its API.
func SaveLimits(dir string, want api.HostLimits) (api.HostLimits, error) {
	settings, err := LoadSettings(dir)
	if err != nil {
		return api.HostLimits{}, err
	}
	settings.Host.Limits = settingsOf(want)
	if err := settings.Save(dir); err != nil {
		return api.HostLimits{}, err
	}
	return limitsOf(settings)
}

// limitsOf shows what settings say, and what follows for this hour.
func limitsOf(s Settings) (api.HostLimits, error) {
	parsed, err := s.Host.Limits.parse()
	if err != nil {
		return api.HostLimits{}, fault.New(fault.BadConfig, "setting host.limits: %w", err)
	}
	l, now := s.Host.Limits, parsed.at(time.Now())
	return api.HostLimits{
		Up: l.Up, Down: l.Down, CPU: l.CPU, Memory: l.Memory, WhenActive: cmp.Or(l.WhenActive, paceGo), ActiveFor: cmp.Or(l.ActiveFor, defaultActiveFor),
		Schedule: append([]string{}, l.Schedule...), Paused: l.Paused, Now: now.show(parsed.pace(now, false), ""),
	}, nil
}
