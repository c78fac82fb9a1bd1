package index

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"

	"hearth/core/fault"
)

// sample is how many rows of one table are checked at opening: all of a small
// table, evenly spread stretches of a large one. Every row is checked again
// whenever it is read.
const sample = 20000

// A summed table can be checked row by row: the columns that its checksums cover,
// in their order, and the name they cover. Intents become removals as they are.
type table struct{ table, columns, name string }

var summed = []table{
	{"buckets", bucketColumns, "buckets"},
	{"docs", "bucket, name, gone, clock, device, body", "docs"},
	{"versions", versionColumns, "versions"},
	{"tombs", tombColumns, "tombs"},
	{"early", "bucket, key, clock, device, bclock, bdevice, body", "early"},
	{"manifests", "id, body", "manifests"},
	{"slabs", "id, refs, local, clock, device, body", "slabs"},
	{"gone", "slab, local, clock, device", "gone"},
	{"hosts", "id, address", "hosts"},
	{"placements", "slab, shard, host, lease, clock, device", "placements"},
	{"pending", "slab, shard", "pending"},
	{"intents", "host, lease, root, size", "shards"},
	{"journal", journalColumns, "journal"},
	{"removals", "host, lease, root, size", "shards"},
	{"multiparts", uploadColumns, "multiparts"},
	{"parts", partColumns, "parts"},
	{"changes", "seq, body", "changes"},
}

func checkRows(ctx context.Context, db *sql.DB, tables []table) error {
	for _, t := range tables {
		var rows int64
		if err := db.QueryRowContext(ctx, "SELECT count(*) FROM "+t.table).Scan(&rows); err != nil {
			return err
		}
		// One row in every `step`; counting needs no second look at the order.
		step := rows/sample + 1
		q := fmt.Sprintf("SELECT %s, sum FROM %s", t.columns, t.table)
		if step > 1 {
			q = fmt.Sprintf("SELECT %s, sum FROM (SELECT *, row_number() OVER () AS n FROM %s) WHERE n %% %d = 0", t.columns, t.table, step)
		}
		if err := checkTable(ctx, db, t.name, q); err != nil {
			return err
		}
	}
	return nil
}

func checkTable(ctx context.Context, db *sql.DB, table, query string) error {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range into {
		into[i] = &values[i]
	}
	for n := 1; rows.Next(); n++ {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for _, v := range values {
			switch v.(type) {
			case string, []byte, int64:
			default:
				return fault.New(fault.DamagedIndex, "table %s, row %d: a column has become %T", table, n, v)
			}
		}
		last := len(values) - 1
		got, ok := values[last].([]byte)
		if !ok || !bytes.Equal(got, rowSum(table, values[:last]...)) {
			return fault.New(fault.DamagedIndex, "table %s, row %d: its checksum doesn't match", table, n)
		}
	}
	return rows.Err()
}

// verify compares a row that was read with its checksum.
func verify(sum []byte, table string, columns ...any) error {
	if !bytes.Equal(sum, rowSum(table, columns...)) {
		return fault.New(fault.DamagedIndex, "a row of table %s doesn't match its checksum", table)
	}
	return nil
}
