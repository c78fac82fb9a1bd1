package app

import (
	"encoding/json"
	"fmt"
	"time"

	cmttypes "github.com/cometbft/cometbft/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
)

// Export returns the genesis of a new chain that goes on from the last block at
// the given time: all balances, stakes and records, heights that count on, and a
// new chain id. What was signed for the old chain (quotes, statements that
// nobody posted) ends with it.
func (a *App) Export(at time.Time) ([]byte, error) {
	height := a.LastBlockHeight()
	ctx, err := a.CreateQueryContext(height, false)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	state, err := a.modules.ExportGenesis(ctx, a.Codec)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	raw, err := json.Marshal(state)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	validators, err := staking.WriteValidators(ctx, a.staking)
	if err != nil {
		return nil, fmt.Errorf("export: %w", err)
	}
	params := cmttypes.ConsensusParamsFromProto(a.GetConsensusParams(ctx))
	return finishGenesis(&cmttypes.GenesisDoc{
		GenesisTime: at.UTC(), InitialHeight: height + 1, ConsensusParams: &params, Validators: validators, AppState: raw,
	})
}
