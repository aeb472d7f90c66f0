package statistics

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/obis"
)

// Version is Home Assistant's own, as in 2025.11.
type Version struct{ Year, Month int }

// Oldest is the first version whose statistics are understood.
var Oldest = Version{2025, 11}

// ErrVersion says that a Home Assistant is too old, or tells no version.
var ErrVersion = errors.New("its statistics are understood from 2025.11 on")

// ParseVersion reads "2026.11.0", "2025.11.0b3", "2026.12.0.dev20261101".
func ParseVersion(text string) (Version, error) {
	parts := strings.SplitN(text, ".", 3)
	if len(parts) < 2 {
		return Version{}, fmt.Errorf("home assistant %.40q: %w", text, ErrVersion)
	}
	year, err := strconv.Atoi(parts[0])
	month, err2 := strconv.Atoi(parts[1])
	v := Version{year, month}
	if err != nil || err2 != nil || v.before(Oldest) {
		return v, fmt.Errorf("home assistant %.40q: %w", text, ErrVersion)
	}
	return v, nil
}

func (v Version) before(o Version) bool {
	return v.Year < o.Year || v.Year == o.Year && v.Month < o.Month
}

// Metadata is what Home Assistant says of a statistic: an item of the answer to
// recorder/get_statistics_metadata.
type Metadata struct {
	ID        string  `json:"statistic_id"`
	Source    string  `json:"source"`
	HasSum    bool    `json:"has_sum"`
	MeanType  int     `json:"mean_type"`
	UnitClass *string `json:"unit_class"` // nil: of no class
	Unit      *string `json:"statistics_unit_of_measurement"`
}

// importMetadata is the metadata of recorder/import_statistics.
type importMetadata struct {
	ID        string  `json:"statistic_id"`
	Source    string  `json:"source"`
	Name      *string `json:"name"`
	HasSum    bool    `json:"has_sum"`
	MeanType  int     `json:"mean_type"`
	HasMean   *bool   `json:"has_mean,omitempty"`
	UnitClass *string `json:"unit_class"`
	Unit      *string `json:"unit_of_measurement"`
}

// Import is the request recorder/import_statistics.
type Import struct {
	Metadata importMetadata `json:"metadata"`
	Stats    []importEntry  `json:"stats"`
}

type importEntry struct {
	Start string          `json:"start"`
	State drivers.Decimal `json:"state"`
	Sum   drivers.Decimal `json:"sum"`
}

// hasMeanUntil is the first version that does without has_mean, which mean_type
// has replaced.
var hasMeanUntil = Version{2026, 11}

// NewImport writes the rows into the statistic that m describes, unchanged in kind
// and unit. v is the version of who takes it.
func NewImport(v Version, m Metadata, rows []Entry) Import {
	i := Import{Metadata: importMetadata{
		ID: m.ID, Source: m.Source, HasSum: m.HasSum, MeanType: m.MeanType, UnitClass: m.UnitClass, Unit: m.Unit,
	}}
	if v.before(hasMeanUntil) {
		i.Metadata.HasMean = new(m.MeanType == 1)
	}
	for _, r := range rows {
		i.Stats = append(i.Stats, importEntry{r.Start.UTC().Format(time.RFC3339), r.State, r.Sum})
	}
	return i
}

// powers are units of one kind, as powers of ten of the first.
var powers = [...]map[obis.Unit]int{
	{"Wh": 0, "mWh": -3, "kWh": 3, "MWh": 6, "GWh": 9, "TWh": 12},
	{"J": 0, "kJ": 3, "MJ": 6, "GJ": 9},
	{"varh": 0, "kvarh": 3},
	{"mL": -3, "L": 0, "m³": 3},
}

// Power is how a number in one unit becomes one in another: × 10^n. false: it
// takes more than moving the point, or nobody knows.
func Power(from, to obis.Unit) (n int, ok bool) {
	if from == to {
		return 0, true
	}
	for _, kind := range powers {
		a, known := kind[from]
		b, knownToo := kind[to]
		if known && knownToo {
			return a - b, true
		}
	}
	return 0, false
}

// Shifted are the hours in another unit: every number × 10^n.
func Shifted(hours []Hour, n int) ([]Hour, error) {
	if n == 0 {
		return hours, nil
	}
	moved := make([]Hour, len(hours))
	for i, h := range hours {
		for _, d := range []*drivers.Decimal{&h.First, &h.Last, &h.Extra} {
			m, err := d.Shift(n)
			if err != nil {
				return nil, err
			}
			*d = m
		}
		moved[i] = h
	}
	return moved, nil
}
