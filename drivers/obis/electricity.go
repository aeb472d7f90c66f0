package obis

// quantity is what a value group C measures, before D says how.
type quantity struct {
	name, label string
	dimension   Dimension
	unit        Unit
}

// flow is a value group C that is both counted (an energy) and measured (a
// power): of all phases, and with 20, 40 and 60 added of L1, L2 and L3.
type flow struct {
	c        byte
	counted  quantity
	measured quantity
	rare     bool
}

// flows are value groups C 1 to 10 and 15 to 20 of IEC 62056-6-1, table 13.
var flows = []flow{
	{1, active("energy_import", "Energy import"), watts("power_import", "Power import"), false},
	{2, active("energy_export", "Energy export"), watts("power_export", "Power export"), false},
	{3, reactive("reactive_energy_import", "Reactive energy import"), vars("reactive_power_import", "Reactive power import"), false},
	{4, reactive("reactive_energy_export", "Reactive energy export"), vars("reactive_power_export", "Reactive power export"), false},
	{5, reactive("reactive_energy_q1", "Reactive energy Q1"), vars("reactive_power_q1", "Reactive power Q1"), true},
	{6, reactive("reactive_energy_q2", "Reactive energy Q2"), vars("reactive_power_q2", "Reactive power Q2"), true},
	{7, reactive("reactive_energy_q3", "Reactive energy Q3"), vars("reactive_power_q3", "Reactive power Q3"), true},
	{8, reactive("reactive_energy_q4", "Reactive energy Q4"), vars("reactive_power_q4", "Reactive power Q4"), true},
	{9, apparent("apparent_energy_import", "Apparent energy import"), voltAmperes("apparent_power_import", "Apparent power import"), false},
	{10, apparent("apparent_energy_export", "Apparent energy export"), voltAmperes("apparent_power_export", "Apparent power export"), false},
	{15, active("energy_absolute", "Energy import plus export"), watts("power_absolute", "Power import plus export"), true},
	{netFlow, active("energy_net", "Energy net"), watts("power_net", "Power net"), false},
	{17, active("energy_q1", "Energy Q1"), watts("power_q1", "Power Q1"), true},
	{18, active("energy_q2", "Energy Q2"), watts("power_q2", "Power Q2"), true},
	{19, active("energy_q3", "Energy Q3"), watts("power_q3", "Power Q3"), true},
	{20, active("energy_q4", "Energy Q4"), watts("power_q4", "Power Q4"), true},
}

// netFlow is import minus export: its counter runs both ways.
const netFlow = 16

func active(name, label string) quantity { return quantity{name, label, Energy, "kWh"} }

func reactive(name, label string) quantity { return quantity{name, label, ReactiveEnergy, "kvarh"} }

func apparent(name, label string) quantity { return quantity{name, label, ApparentEnergy, "kVAh"} }

func watts(name, label string) quantity { return quantity{name, label, Power, "W"} }

func vars(name, label string) quantity { return quantity{name, label, ReactivePower, "var"} }

func voltAmperes(name, label string) quantity { return quantity{name, label, ApparentPower, "VA"} }

// levels are value groups C that are measured only. of says to which phase they
// belong; nearly all come as one C for any phase and one for each.
var levels = []struct {
	c     byte
	phase uint8
	quantity
}{
	{11, 0, quantity{"current", "Current", Current, "A"}},
	{31, 1, quantity{"current", "Current", Current, "A"}},
	{51, 2, quantity{"current", "Current", Current, "A"}},
	{71, 3, quantity{"current", "Current", Current, "A"}},
	{90, 0, quantity{"current_sum", "Current sum", Current, "A"}},
	{91, 0, quantity{"current_neutral", "Current neutral", Current, "A"}},
	{12, 0, quantity{"voltage", "Voltage", Voltage, "V"}},
	{32, 1, quantity{"voltage", "Voltage", Voltage, "V"}},
	{52, 2, quantity{"voltage", "Voltage", Voltage, "V"}},
	{72, 3, quantity{"voltage", "Voltage", Voltage, "V"}},
	{92, 0, quantity{"voltage_neutral", "Voltage neutral", Voltage, "V"}},
	{13, 0, quantity{"power_factor", "Power factor", PowerFactor, ""}},
	{33, 1, quantity{"power_factor", "Power factor", PowerFactor, ""}},
	{53, 2, quantity{"power_factor", "Power factor", PowerFactor, ""}},
	{73, 3, quantity{"power_factor", "Power factor", PowerFactor, ""}},
	{84, 0, quantity{"power_factor_export", "Power factor export", PowerFactor, ""}},
	{85, 1, quantity{"power_factor_export", "Power factor export", PowerFactor, ""}},
	{86, 2, quantity{"power_factor_export", "Power factor export", PowerFactor, ""}},
	{87, 3, quantity{"power_factor_export", "Power factor export", PowerFactor, ""}},
	{14, 0, quantity{"frequency", "Frequency", Frequency, "Hz"}},
	{34, 1, quantity{"frequency", "Frequency", Frequency, "Hz"}},
	{54, 2, quantity{"frequency", "Frequency", Frequency, "Hz"}},
	{74, 3, quantity{"frequency", "Frequency", Frequency, "Hz"}},
}

// processing is a value group D of IEC 62056-6-1, table 14.
type processing struct {
	d            byte
	suffix, word string // behind the quantity's name and label
	nature       Nature
	tariffs      byte // how many tariffs, of the sum over all phases, Lookup finds without an allocation
	rare         bool
}

// counting are the time integrals of a flow.
var counting = []processing{
	{8, "", "", Total, 8, false},
	{9, "_this_period", " this period", Periodic, 4, true},
	{29, "_last_interval", " last interval", Momentary, 0, true},
}

// averaging is done with flows and levels alike.
var averaging = []processing{
	{7, "", "", Momentary, 0, false},
	{3, "_minimum", " minimum", Periodic, 0, true},
	{4, "_average", " average", Momentary, 0, false},
	{5, "_last_average", " last average", Momentary, 0, false},
	{6, "_maximum", " maximum", Periodic, 4, false},
	{14, "_average_2", " average 2", Momentary, 0, true},
	{15, "_last_average_2", " last average 2", Momentary, 0, true},
	{24, "_average_3", " average 3", Momentary, 0, false},
	{25, "_last_average_3", " last average 3", Momentary, 0, true},
	{27, "_average_5", " average 5", Momentary, 0, false},
}

// demand is done with the sum of a flow over all phases.
var demand = []processing{
	{0, "_billing_average", " billing average", Momentary, 0, true},
	{1, "_cumulative_minimum", " cumulative minimum", Periodic, 0, true},
	{2, "_cumulative_maximum", " cumulative maximum", Periodic, 4, true},
	{13, "_minimum_2", " minimum 2", Periodic, 0, true},
	{16, "_maximum_2", " maximum 2", Periodic, 0, true},
	{23, "_minimum_3", " minimum 3", Periodic, 0, true},
	{26, "_maximum_3", " maximum 3", Periodic, 0, true},
}

// supervision is value group D 31 to 42: what fell below, exceeded or missed a
// limit. quantity is what remains of the supervised one's name.
var supervision = []struct {
	d            byte
	suffix, word string
	as           Dimension // NoDimension: as what is supervised
	nature       Nature
}{
	{31, "_sag_threshold", " sag threshold", NoDimension, Fact},
	{32, "_sags", " sags", Count, Total},
	{33, "_sag_duration", " sag duration", Duration, Momentary},
	{34, "_sag_magnitude", " sag magnitude", NoDimension, Momentary},
	{35, "_swell_threshold", " swell threshold", NoDimension, Fact},
	{36, "_swells", " swells", Count, Total},
	{37, "_swell_duration", " swell duration", Duration, Momentary},
	{38, "_swell_magnitude", " swell magnitude", NoDimension, Momentary},
	{39, "_outage_threshold", " outage threshold", NoDimension, Fact},
	{40, "_outages", " outages", Count, Total},
	{41, "_outage_duration", " outage duration", Duration, Momentary},
	{42, "_outage_magnitude", " outage magnitude", NoDimension, Momentary},
}

var (
	phaseNames  = [...]string{"", "_l1", "_l2", "_l3"}
	phaseLabels = [...]string{"", " L1", " L2", " L3"}
)

func addElectricity(all map[spot]Entry) {
	for _, f := range flows {
		f.addTo(all)
	}
	for _, l := range levels {
		for _, p := range averaging {
			add(all, l.c, p, l.quantity, l.phase, false)
		}
		if l.dimension == Voltage || l.dimension == Current {
			addSupervision(all, l.c, l.quantity, l.phase)
		}
	}
	addFuses(all)
	addAngles(all)
	addPulses(all)
}

func (f flow) addTo(all map[spot]Entry) {
	for phase := range uint8(4) {
		c := f.c + 20*phase
		// Reactive and apparent flows of one phase are for specialists.
		rare := f.rare || phase > 0 && f.counted.dimension != Energy
		for _, p := range counting {
			if f.c == netFlow && p.nature == Total {
				p.nature = Balance
			}
			add(all, c, p, f.counted, phase, rare)
		}
		for _, p := range averaging {
			add(all, c, p, f.measured, phase, rare)
		}
	}
	for _, p := range demand {
		add(all, f.c, p, f.measured, 0, f.rare)
	}
}

func add(all map[spot]Entry, c byte, p processing, q quantity, phase uint8, rare bool) {
	if phase > 0 && p.rare {
		return // meters do not go that far
	}
	e := Entry{
		Name:      q.name + p.suffix + phaseNames[phase],
		Label:     q.label + p.word + phaseLabels[phase],
		Dimension: q.dimension,
		Unit:      q.unit,
		Nature:    p.nature,
		Phase:     phase,
		Rare:      rare || p.rare,
	}
	all[at(1, c, p.d, 0)] = e
	if phase > 0 || e.Rare {
		return
	}
	for n := byte(1); n <= p.tariffs; n++ {
		all[at(1, c, p.d, n)] = e.withTariff(n)
	}
}

func addSupervision(all map[spot]Entry, c byte, q quantity, phase uint8) {
	for _, s := range supervision {
		e := Entry{
			Name:       q.name + s.suffix + phaseNames[phase],
			Label:      q.label + s.word + phaseLabels[phase],
			Dimension:  q.dimension,
			Unit:       q.unit,
			Nature:     s.nature,
			Phase:      phase,
			Diagnostic: true,
			Rare:       true,
		}
		switch s.as {
		case Count:
			e.Dimension, e.Unit = Count, ""
		case Duration:
			e.Dimension, e.Unit = Duration, "s"
		default: // in the unit of what is supervised
		}
		all[at(1, c, s.d, 0)] = e
	}
}

// addFuses replaces 31.4.0, 51.4.0 and 71.4.0. IEC 62056-6-1 has averages there;
// eMUCS-P1 and the meters of Lithuania and Luxembourg print the limit of the
// fuse supervision, and nothing else that we know prints them.
func addFuses(all map[spot]Entry) {
	for phase := uint8(1); phase <= 3; phase++ {
		all[at(1, 11+20*phase, 4, 0)] = Entry{
			Name:       "current_limit" + phaseNames[phase],
			Label:      "Current limit" + phaseLabels[phase],
			Dimension:  Current,
			Unit:       "A",
			Phase:      phase,
			Diagnostic: true,
		}
	}
}

// vectors are what an angle of value group C 81 lies between: the digits of E.
var vectors = [...]string{"u1", "u2", "u3", "", "i1", "i2", "i3", "in"}

func addAngles(all map[spot]Entry) {
	for i, from := range vectors {
		for j, to := range vectors {
			if from == "" || to == "" {
				continue
			}
			all[at(1, 81, 7, byte(10*i+j))] = Entry{
				Name:      "phase_angle_" + from + "_" + to,
				Label:     "Phase angle " + upper(from) + " to " + upper(to),
				Dimension: PhaseAngle,
				Unit:      "°",
				Nature:    Momentary,
				Rare:      true,
			}
		}
	}
}

func upper(s string) string {
	b := []byte(s)
	b[0] -= 'a' - 'A'
	if b[1] == 'n' {
		b[1] = 'N'
	}
	return string(b)
}

// addPulses names value group C 82, pulses or pieces of whatever kind; E numbers
// the counters.
func addPulses(all map[spot]Entry) {
	all[at(1, 82, 8, 0)] = Entry{Name: "pulses", Label: "Pulses", Dimension: Count, Nature: Total, Rare: true}
	for n := 1; n <= 8; n++ {
		all[at(1, 82, 8, byte(n))] = Entry{
			Name: "pulses_" + decimal(n), Label: "Pulses " + decimal(n),
			Dimension: Count, Nature: Total, Rare: true,
		}
	}
}
