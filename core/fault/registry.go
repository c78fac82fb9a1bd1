package fault

// Exit statuses of the command line.
const (
	ExitFailure   = 1
	ExitUsage     = 2
	ExitNotFound  = 3
	ExitKey       = 4
	ExitFunds     = 5
	ExitHosts     = 6
	ExitConflict  = 7
	ExitIntegrity = 8
	ExitPartial   = 9
)

// The codes. Each has an entry in the registry; a test compares the two lists.
const (
	Internal        Code = "internal"
	BadRequest      Code = "bad_request"
	NotFound        Code = "not_found"
	NotRunning      Code = "not_running"
	NoIdentity      Code = "no_identity"
	IdentityExists  Code = "identity_exists"
	UnknownIdentity Code = "unknown_identity"
	BadPhrase       Code = "bad_phrase"
	WrongPassphrase Code = "wrong_passphrase"
	KeyUnreadable   Code = "key_unreadable"
	BareURL         Code = "bare_url"
	BadNetworkName  Code = "bad_network_name"
	WrongNetwork    Code = "wrong_network"
	LedgerDown      Code = "ledger_down"
	LedgerLies      Code = "ledger_lies"
	TrustExpired    Code = "trust_expired"
	TxRefused       Code = "tx_refused"
	SponsorRefused  Code = "sponsor_refused"
	NoFunds         Code = "no_funds"
	LeaseLow        Code = "lease_low"
	PriceTooHigh    Code = "price_too_high"
	CapReached      Code = "cap_reached"
	MandateRefused  Code = "mandate_refused"
	NoHosts         Code = "no_hosts"
	NotEnoughHosts  Code = "not_enough_hosts"
	HostFull        Code = "host_full"
	HostUnreachable Code = "host_unreachable"
	HostRefused     Code = "host_refused"
	QuoteExpired    Code = "quote_expired"
	NoLease         Code = "no_lease"
	LeaseClosed     Code = "lease_closed"
	Unpaid          Code = "unpaid"
	Stale           Code = "stale"
	Locked          Code = "locked"
	BadStatement    Code = "bad_statement"
	BadSignature    Code = "bad_signature"
	BadFrame        Code = "bad_frame"
	TooLarge        Code = "too_large"
	UnknownFormat   Code = "unknown_format"
	BadModule       Code = "bad_module"
	NoModule        Code = "no_module"
	NoInstance      Code = "no_instance"
	AtLimit         Code = "at_limit"
	InstanceEnded   Code = "instance_ended"
	OutOfGas        Code = "out_of_gas"
	Trapped         Code = "trapped"
	Deadline        Code = "deadline"
	SandboxFailed   Code = "sandbox_failed"
	FunctionFailed  Code = "function_failed"
	NoContainers    Code = "containers_unavailable"
	BadCheckpoint   Code = "bad_checkpoint"
	NotVerified     Code = "not_verified"
	Busy            Code = "busy"
	DamagedShard    Code = "damaged_shard"
	DamagedIndex    Code = "damaged_index"
	DamagedFile     Code = "damaged_file"
	NotEnoughShards Code = "not_enough_shards"
	DiskFull        Code = "disk_full"
	Exists          Code = "exists"
	Conflict        Code = "conflict"
	BadName         Code = "bad_name"
	Unauthorized    Code = "unauthorized"
	Interrupted     Code = "interrupted"
	StoredPartly    Code = "stored_partly"
	AlreadyRunning  Code = "already_running"
	ProgramMissing  Code = "program_missing"
	BadConfig       Code = "bad_config"
	StillLeased     Code = "still_leased"
	NotAHost        Code = "not_a_host"
	KeyReused       Code = "key_reused"
	OutcomeUnknown  Code = "outcome_unknown"
	AddressTaken    Code = "address_taken"
	Moved           Code = "moved"
	PointerBehind   Code = "pointer_behind"
	HalfRestored    Code = "half_restored"
	FilesLost       Code = "files_lost"
	Frozen          Code = "frozen"
	BadImage        Code = "bad_image"
	BadAnswer       Code = "bad_answer"
	MachineTooWeak  Code = "machine_too_weak"
	PortClosed      Code = "port_closed"
	RegistryDown    Code = "registry_unreachable"
	RegistryRefused Code = "registry_refused"
)

// An Entry explains one code.
type Entry struct {
	Code   Code
	Exit   int    // exit status of the command line
	HTTP   int    // status of the local API
	Cause  string // what has happened
	Remedy string // what to do next
}

// Lookup finds the entry of code.
func Lookup(code Code) (Entry, bool) {
	for _, e := range registry {
		if e.Code == code {
			return e, true
		}
	}
	return Entry{}, false
}

// All returns every entry, in the order of the registry. The caller owns the slice.
func All() []Entry { return append([]Entry(nil), registry...) }

var registry = []Entry{
	{Internal, ExitFailure, 500, "Something went wrong inside the program.", "Try again; if it comes back, report it with the log around it."},
	{BadRequest, ExitUsage, 400, "The request isn't well formed.", "Read the message for the part that is wrong; `--help` shows the form."},
	{NotFound, ExitNotFound, 404, "There is no such object, bucket, record or file.", "`hearth ls` shows what is stored."},
	{NotRunning, ExitFailure, 503, "No node answers in this folder.", "Start one with `hearth up`, or name the right folder with --dir or HEARTH_DIR."},
	{NoIdentity, ExitKey, 404, "This folder holds no identity.", "`hearth init` makes one, `hearth restore` brings one back from a recovery sheet."},
	{IdentityExists, ExitConflict, 409, "This folder holds an identity already; it is never overwritten.", "Choose another --dir, or move the old folder away."},
	{UnknownIdentity, ExitKey, 404, "The ledger doesn't know this phrase's account.", "Check the words and the network's name on the recovery sheet; a new identity is made only by `hearth init`."},
	{BadPhrase, ExitKey, 400, "These are not the words of a recovery phrase.", "Check spelling and order against the recovery sheet: 12 words, the last one carries a checksum."},
	{WrongPassphrase, ExitKey, 403, "The passphrase doesn't open the keystore.", "Try again; without the passphrase the recovery sheet brings everything back in another --dir (`hearth restore`)."},
	{KeyUnreadable, ExitKey, 500, "The keystore can't be read.", "The file is kept as it is. `hearth restore` brings everything back from the recovery sheet into another --dir."},
	{BareURL, ExitUsage, 400, "A bare URL doesn't say which ledger is meant.", "Use the network's whole name, `hearth-<20 hex digits>@url`, from the recovery sheet or `hearth ledger status`."},
	{BadNetworkName, ExitUsage, 400, "This is not a network's name.", "It has the form `hearth-<20 hex digits>@url[,url]`."},
	{WrongNetwork, ExitIntegrity, 502, "The ledger node belongs to another network.", "Check the URL; the name before the @ must be the one on the recovery sheet."},
	{LedgerDown, ExitHosts, 503, "No ledger node of this network answers.", "Check the network and try again; stored files can still be read meanwhile."},
	{LedgerLies, ExitIntegrity, 502, "A ledger node's answer contradicts what the validators signed.", "Use other ledger nodes; nothing was believed and nothing was done."},
	{TrustExpired, ExitIntegrity, 502, "The newest block this node trusts is older than the trusting period.", "Give a recent checkpoint, confirmed by two ledger nodes."},
	{TxRefused, ExitFailure, 422, "The ledger refused the transaction.", "The message names the rule it broke."},
	{SponsorRefused, ExitFunds, 429, "The sponsor of first fees refused.", "It pays once for each key and limits its rate: try later, or have somebody send you a little ember."},
	{NoFunds, ExitFunds, 402, "There isn't enough money where it is needed.", "`hearth wallet balance` shows where it is; `hearth wallet fund AMOUNT` puts ember of the account into the purse."},
	{LeaseLow, ExitFunds, 402, "The lease's money is down to its reserve: no new data is taken.", "`hearth wallet fund AMOUNT`; the node refills its leases from the purse."},
	{PriceTooHigh, ExitFunds, 402, "It costs more than you allow.", "Raise --max-price, or the ceiling in the configuration, or wait for cheaper hosts. No money has moved."},
	{CapReached, ExitFunds, 402, "This device's cap for 30 days is reached: nothing more goes into leases.", "`hearth wallet cap` shows the cap and what is used of it; `hearth wallet cap AMOUNT` sets another."},
	{MandateRefused, ExitKey, 403, "This device's key may not do that, or its limit is used up.", "`hearth wallet show` prints the mandate; the account's own key can widen it."},
	{NoHosts, ExitHosts, 503, "No host offers this on the network now.", "`hearth market quotes` shows who does; try again later."},
	{NotEnoughHosts, ExitHosts, 503, "Fewer hosts can take the file than its code needs.", "Try later, or choose a code with fewer shards (`--code k/n`). Nothing was listed; what was paid ahead and not used returns."},
	{HostFull, ExitHosts, 507, "The host has no room left.", "The client tries another host by itself; a host's owner can raise `--storage`."},
	{HostUnreachable, ExitHosts, 504, "The host doesn't answer.", "The client goes on with other hosts; `hearth market quotes` shows who answers."},
	{HostRefused, ExitHosts, 502, "The host refused.", "The message carries the host's reason."},
	{QuoteExpired, ExitConflict, 409, "The host's price has run out.", "Ask for a new quote; the node does so by itself."},
	{NoLease, ExitNotFound, 404, "There is no such lease.", "`hearth lease ls` shows the leases."},
	{LeaseClosed, ExitConflict, 409, "The lease is closed or closing.", "Open a new one; the node does so by itself on the next upload."},
	{Unpaid, ExitFunds, 402, "What was asked for hasn't been paid ahead.", "The node pays by itself while the lease has money: `hearth lease show ID`."},
	{Stale, ExitConflict, 409, "Another device has signed a newer statement.", "The node takes the newer one and tries again by itself."},
	{BadStatement, ExitIntegrity, 422, "The statement breaks a rule of the bargain.", "Nothing was signed. The message names the rule."},
	{BadSignature, ExitIntegrity, 403, "A signature doesn't match.", "Nothing was believed. Check that both sides are on the same network."},
	{BadFrame, ExitIntegrity, 400, "A peer sent bytes that are no valid message.", "The connection was closed; the node uses other peers."},
	{TooLarge, ExitUsage, 413, "A message or value is larger than its limit.", "The message names the limit."},
	{UnknownFormat, ExitIntegrity, 422, "The data has a format version this program doesn't know.", "Update the program; the data is left as it is."},
	{BadModule, ExitUsage, 422, "This isn't a WebAssembly module that can be run and measured.", "The message names what isn't taken. Modules are core WebAssembly 2.0 (WASI preview 1), not components, without threads."},
	{NoModule, ExitNotFound, 404, "The host doesn't have this module.", "Send it again: a host keeps modules as long as it has room, and the least recently used go first."},
	{NoInstance, ExitNotFound, 404, "There is no such instance.", "`hearth ps` shows what there is. What a lease no longer covers is gone for good; start another."},
	{AtLimit, ExitFailure, 422, "The instance has as much of something as it may.", "The message says of what. End some of what runs in it, or create another with more (`hearth instance create --pids`)."},
	{InstanceEnded, ExitConflict, 409, "The instance has ended.", "`hearth logs NAME` may say why; `hearth instance start NAME` runs it anew."},
	{BadImage, ExitUsage, 422, "This isn't a container image that can be run: a part of it isn't what its digest says, breaks the format, or would leave its own folder.", "The message names the part. Push the image again from where it was built; images are OCI or docker schema 2, for linux and this machine's kind of processor."},
	{OutOfGas, ExitFailure, 422, "The function used up its gas before it ended.", "Allow more gas, or give it less to do. What it used is paid."},
	{Trapped, ExitFailure, 422, "The function did what no program may, and was ended.", "The message says what: its log may say where. The same call ends the same way on every host. What it used is paid."},
	{Deadline, ExitHosts, 504, "The function took longer than it was allowed.", "Allow more time (`hearth fn deploy --deadline`): hosts differ in speed, not in gas. The time it took is paid, as 10^9 gas a second."},
	{SandboxFailed, ExitHosts, 502, "What keeps strangers' programs apart failed, and the program with it.", "Another host is tried by itself; if it is always the same program, it needs more memory than hosts give. Nothing is paid."},
	{FunctionFailed, ExitFailure, 422, "The function has run and says that it failed.", "Its log says why: `hearth fn logs NAME`. What it used is paid."},
	{NoContainers, ExitFailure, 503, "This machine can't run containers.", "The message says what is missing. They need Linux on amd64 or arm64, hearth-sandbox beside hearth-node, and either root or a kernel that lets its users make user namespaces."},
	{RegistryDown, ExitHosts, 504, "A registry of images doesn't answer, or leads nowhere that may be followed.", "Check its name and the network, and run it again: what is here already isn't fetched again. A registry without TLS needs --insecure, unless it is on this machine."},
	{RegistryRefused, ExitHosts, 502, "A registry of images refused.", "The message carries its reason. `docker login REGISTRY` or `podman login REGISTRY` logs in where it wants to know you; hearth reads the same files."},
	{BadCheckpoint, ExitIntegrity, 422, "The instance can't go on where it was: what was kept of it is missing, damaged, sealed with another key, or of another version.", "Nothing was run. `hearth instance stop NAME` gives up what was kept; `hearth instance start NAME` then runs it anew."},
	{BadAnswer, ExitFailure, 502, "The function ended well, but what it put out isn't an answer to an HTTP request.", "It puts out a CGI response: header lines (Content-Type: text/plain), an empty line, the body. What it used is paid."},
	{PortClosed, ExitNotFound, 502, "Nothing takes connections at that port inside the instance.", "See whether its program runs and where it listens: `hearth ps`, `hearth logs NAME`; it must listen on all addresses, not on 127.0.0.1 alone."},
	{NotVerified, ExitIntegrity, 502, "Hosts gave different results for one call, and this machine couldn't find out which is right.", "Nothing was given out. Try again; a limit of gas that this machine can compute in five minutes lets it decide."},
	{Busy, ExitHosts, 503, "The peer is at its limit of requests.", "It is tried again by itself; other hosts are used meanwhile."},
	{DamagedShard, ExitIntegrity, 500, "A stored shard doesn't match its root.", "It is not served; the file is rebuilt from other hosts."},
	{DamagedIndex, ExitIntegrity, 500, "The list of files is damaged.", "The file is kept as it is, beside it stands why. `hearth fsck --rebuild` makes the list anew from the hosts."},
	{DamagedFile, ExitIntegrity, 500, "A file of this node is damaged.", "It is kept as it is; the message names it."},
	{NotEnoughShards, ExitIntegrity, 502, "Too few hosts hold their part of the file right now.", "Try again when more hosts are up: `hearth stat KEY` shows which answer."},
	{DiskFull, ExitFailure, 507, "The disk is full.", "Make room and try again; nothing acknowledged was lost."},
	{Locked, ExitConflict, 409, "The version is under a legal hold or retained until a date.", "End the hold, or wait until the date; in mode GOVERNANCE who may bypass it can remove it earlier."},
	{Exists, ExitConflict, 409, "It exists already.", "Choose another name, or remove it first."},
	{Conflict, ExitConflict, 409, "Another machine of the account works with it, or has changed it at the same time.", "Try again; the message says what is lost, if anything is."},
	{BadName, ExitUsage, 400, "This is not a name of an object.", "Objects are named hearth://bucket/key; a bucket has 3 to 63 of a-z, 0-9, - and dots."},
	{Unauthorized, ExitKey, 401, "The request carries no valid token.", "Use the unix socket, or the token in the node's api.token file."},
	{Interrupted, 130, 499, "Stopped by you.", "Nothing half done is listed; run it again."},
	{StoredPartly, ExitPartial, 202, "The file is stored, but some shards are still pending.", "It can be read now; the node completes it in the background."},
	{AlreadyRunning, ExitConflict, 409, "Another process works in this folder.", "Stop it first, or choose another --dir."},
	{ProgramMissing, ExitFailure, 500, "A program that belongs to hearth isn't there.", "The message names it. Install it where the other programs of hearth are, or on the PATH."},
	{BadConfig, ExitUsage, 400, "The configuration file has a mistake.", "The message names the line."},
	{StillLeased, ExitConflict, 409, "The host still has leases.", "Give notice with `hearth host leave`, and leave when they have ended."},
	{NotAHost, ExitNotFound, 404, "This node isn't a host of the network.", "`hearth host join <network> --storage 50GB` makes it one."},
	{MachineTooWeak, ExitFailure, 422, "This machine has less than the network wants of a host.", "The message names what is short and the cheapest fix. `hearth host measure` measures again, when nothing else runs."},
	{KeyReused, ExitConflict, 422, "The Idempotency-Key belongs to another request.", "Use a new key for each thing you want done; the same key only to repeat the same request."},
	{AddressTaken, ExitConflict, 409, "Another program listens at this address.", "Stop it, or choose another port: `--listen`, or in the configuration file. A node takes two ports for peers, the one named and the next."},
	{Frozen, ExitConflict, 409, "The host is drawn for a proof and hasn't answered yet.", "Its storage can change again once it has answered, at the latest when the period ends; the node tries again by itself."},
	{PointerBehind, ExitIntegrity, 502, "The hosts that answer have an older list of files than the ledger knows of.", "Try again when more hosts are up; nothing was restored, so that nothing is missing without your knowing."},
	{HalfRestored, ExitConflict, 409, "Restoring into this folder was begun and not finished.", "Run the same `hearth restore` again; it goes on where it stopped."},
	{FilesLost, ExitIntegrity, 502, "Too few shards of some files are left to give them back.", "`hearth fsck` names them. A host that comes back brings its shards with it; else store these files again."},
	{Moved, ExitConflict, 409, "This node has moved, or a copy of it runs elsewhere.", "Start it where it is now: the message says where. If the copy is gone and never ran, `hearth host move --undo` has it run here again."},
	{OutcomeUnknown, ExitConflict, 409, "The node stopped while it carried out this request; it may have taken effect.", "`hearth wallet balance` shows whether it has. If it hasn't, send it again with a new key."},
}
