package index

import "context"

// Leases lists every lease under which some shard lies.
func (x *Index) Leases(ctx context.Context) (out []Place, err error) {
	err = x.view(ctx, func(t *tx) error {
		return t.each(`SELECT DISTINCT h.address, p.lease FROM placements p JOIN hosts h ON h.id = p.host ORDER BY p.lease`, nil,
			func(scan func(...any) error) error {
				var p Place
				var lease int64
				err := scan(&p.Host, &lease)
				p.Lease = uint64(lease)
				out = append(out, p)
				return err
			})
	})
	return out, failed("list leases", err)
}
