package api

// Spending is what the account spends and may spend.
type Spending struct {
	Now    Money `json:"now" doc:"What all leases of the account cost in 30 days as it is"`
	Agreed Money `json:"agreed" doc:"Up to what a month the account's owner has agreed to on this device"`
	Cap    Money `json:"cap" doc:"What this device may put into leases in 30 days"`
	Left   Money `json:"left" doc:"Of it, in the present 30 days"`
}

// A Price is what storing something would cost, by the hosts' prices of now.
type Price struct {
	Bytes int64  `json:"bytes"`
	Class string `json:"class" doc:"k/n of the code"`
	Month Money  `json:"month" doc:"Keeping it for 30 days"`
	Once  Money  `json:"once" doc:"Sending it to the hosts, once"`
	Then  Money  `json:"then" doc:"What all leases cost in 30 days with it"`
	Spending
}
