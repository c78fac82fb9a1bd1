package host

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	fsync prometheus.Histogram
}

func newMetrics() *metrics {
	return &metrics{prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "hearth_storage_fsync_seconds", Help: "Time of one group sync: data and index.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14),
	})}
}

type figure struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Stats) int64
}

// figures are read from Stats whenever somebody asks.
func figures() []figure {
	f := func(name, help string, kind prometheus.ValueType, value func(Stats) int64) figure {
		return figure{prometheus.NewDesc("hearth_storage_"+name, help, nil, nil), kind, value}
	}
	const gauge, counter = prometheus.GaugeValue, prometheus.CounterValue
	return []figure{
		f("capacity_bytes", "Room rented out.", gauge, func(s Stats) int64 { return s.Capacity }),
		f("used_bytes", "Room taken, headers included.", gauge, func(s Stats) int64 { return s.Used }),
		f("stored_bytes", "Bytes of shards held.", gauge, func(s Stats) int64 { return s.Stored }),
		f("pending_bytes", "Bytes of shards that no statement covers yet.", gauge, func(s Stats) int64 { return s.Pending }),
		f("kept_bytes", "Bytes of removed shards that roots on the ledger still need.", gauge, func(s Stats) int64 { return s.Kept }),
		f("shards", "Shards held.", gauge, func(s Stats) int64 { return s.Shards }),
		f("in_bytes_total", "Bytes of shards received.", counter, func(s Stats) int64 { return s.Received }),
		f("out_bytes_total", "Bytes of shards served.", counter, func(s Stats) int64 { return s.Served }),
		f("trash_bytes", "Bytes of shards that no lease needs any more.", gauge, func(s Stats) int64 { return s.Trash }),
		f("waste_bytes", "Room that is freed and not back yet.", gauge, func(s Stats) int64 { return s.Waste }),
		f("damaged_shards", "Damaged shards held.", gauge, func(s Stats) int64 { return s.Bad }),
		f("scrubbed_bytes_total", "Bytes read and compared in the background.", counter, func(s Stats) int64 { return s.Scrubbed }),
		f("reads_total", "Reads answered, audits included.", counter, func(s Stats) int64 { return s.Reads }),
		f("damaged_blocks_total", "Damaged blocks found.", counter, func(s Stats) int64 { return s.Damaged }),
	}
}

// Describe makes a Host a prometheus.Collector.
func (h *Host) Describe(out chan<- *prometheus.Desc) {
	h.m.fsync.Describe(out)
	for _, f := range figures() {
		out <- f.desc
	}
}

// Collect makes a Host a prometheus.Collector.
func (h *Host) Collect(out chan<- prometheus.Metric) {
	h.m.fsync.Collect(out)
	stats := h.Stats()
	for _, f := range figures() {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, float64(f.value(stats)))
	}
}
