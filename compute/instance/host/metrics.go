package host

import "github.com/prometheus/client_golang/prometheus"

var (
	reservedDesc  = prometheus.NewDesc("hearth_instances_reserved", "What instances have reserved of this machine.", []string{"of"}, nil)
	instancesDesc = prometheus.NewDesc("hearth_instances", "Instances under leases.", nil, nil)
)

// figures shows what is reserved.
type figures struct{ h *Host }

func (figures) Describe(to chan<- *prometheus.Desc) {
	to <- reservedDesc
	to <- instancesDesc
}

func (f figures) Collect(to chan<- prometheus.Metric) {
	reserved := f.h.Reserved()
	for d, of := range [...]string{"cores", "memory", "disk"} {
		used := float64(reserved[d])
		if d == 0 {
			used /= 1 << 30
		}
		to <- prometheus.MustNewConstMetric(reservedDesc, prometheus.GaugeValue, used, of)
	}
	to <- prometheus.MustNewConstMetric(instancesDesc, prometheus.GaugeValue, float64(f.h.Count()))
}

// Count is how many instances there are under leases.
func (h *Host) Count() (n int) {
	covered, _ := h.book.all()
	for _, ids := range covered {
		n += len(ids)
	}
	return n
}
