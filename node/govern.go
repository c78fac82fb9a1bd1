package node

import (
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

// allowed is what holds now.
func (s *selling) allowed() host.Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits.at(time.Now())
}

// govern has the server keep to it.
func (s *selling) govern() {
	now := s.allowed()
	if s.door.Limits() != now {
		s.log.Info("limits", "up", now.Up, "down", now.Down, "paused", now.Paused)
		s.door.Limit(now)
	}
}

// Limits shows what the owner allows.
func (r hostRole) Limits(context.Context) (api.HostLimits, error) { return SavedLimits(r.s.n.dir) }

// SetLimits writes the owner's wish into config.toml and makes it hold at once.
func (r hostRole) SetLimits(_ context.Context, want api.HostLimits) (api.HostLimits, error) {
	r.s.setting.Lock()
	defer r.s.setting.Unlock()
	wish, err := LimitSettings{Up: want.Up, Down: want.Down, Schedule: want.Schedule, Paused: want.Paused}.parse()
	if err != nil {
		return api.HostLimits{}, fault.New(fault.BadRequest, "set limits: %w", err)
	}
	out, err := SaveLimits(r.s.n.dir, want)
	if err != nil {
		return api.HostLimits{}, err
	}
	r.s.mu.Lock()
	r.s.limits = wish
	r.s.mu.Unlock()
	r.s.govern()
	return out, nil
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
	settings.Host.Limits = LimitSettings{Up: want.Up, Down: want.Down, Schedule: want.Schedule, Paused: want.Paused}
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
	now, l := parsed.at(time.Now()), s.Host.Limits
	return api.HostLimits{
		Up: l.Up, Down: l.Down, Schedule: append([]string{}, l.Schedule...), Paused: l.Paused,
		Now: api.LimitsNow{Up: now.Up, Down: now.Down, Paused: now.Paused},
	}, nil
}
