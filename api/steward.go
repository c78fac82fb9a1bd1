package api

import "time"

// AnySteward is the host's name for one that the node chooses.
const AnySteward = "any"

// HireSteward says what a steward may spend; what is left out is as the settings
// have it.
type HireSteward struct {
	Cap   *Money     `json:"cap,omitempty" doc:"What it may put into leases in 30 days"`
	Until *time.Time `json:"until,omitempty" doc:"The end of its mandate"`
	Month *Money     `json:"gib_month,omitempty" doc:"The most that a GiB may cost for 30 days"`
}

// Steward is one that looks after this account's data.
type Steward struct {
	Host      string    `json:"host" doc:"Its account on the ledger"`
	State     string    `json:"state" enum:"working,silent,ended,dismissed"`
	Cap       Money     `json:"cap" doc:"What it may put into leases in 30 days"`
	Spent     Money     `json:"spent" doc:"Of that, in the present 30 days"`
	Until     time.Time `json:"until"`
	Ceiling   Prices    `json:"ceiling"`
	Slabs     int64     `json:"slabs" doc:"That it looks after"`
	Restored  int64     `json:"restored" doc:"Shards that it made anew and that were taken over"`
	Bytes     int64     `json:"bytes" doc:"Of them"`
	Refused   int64     `json:"refused" doc:"Shards that broke the rules and weren't taken over"`
	Heard     time.Time `json:"heard,omitzero" doc:"Its newest answer"`
	Trouble   string    `json:"trouble,omitempty" doc:"Why it couldn't be spoken with"`
	Complaint string    `json:"complaint,omitempty" doc:"The newest reason for a refusal"`
}

// Stewards are those hired, and what this node itself sees of its slabs.
type Stewards struct {
	Stewards []Steward `json:"stewards" nullable:"false"`
	Care     Care      `json:"care"`
	Cap      Money     `json:"cap" doc:"What one that is hired now may put into leases in 30 days where nothing else is said"`
}

// Care is how whole the slabs are that this node stores.
type Care struct {
	Slabs   int   `json:"slabs"`
	Due     int   `json:"due" doc:"Slabs that wait for repair"`
	Urgent  int   `json:"urgent" doc:"Slabs that are close to too few shards"`
	Beyond  int   `json:"beyond" doc:"Slabs of which too few shards can be read now"`
	Missing int   `json:"missing" doc:"Shards that nobody can read now"`
	Unknown int   `json:"unknown" doc:"Shards whose hosts haven't been heard lately"`
	Remade  int64 `json:"remade" doc:"Shards made anew since the start"`
	Bytes   int64 `json:"bytes" doc:"Of them"`
	Audits  int64 `json:"audits" doc:"Pieces of shards that were read to see whether they are there, since the start"`
}
