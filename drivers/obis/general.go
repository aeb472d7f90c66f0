package obis

// general are the codes that mean the same whatever the medium: A = 0, and value
// groups C 0 and 96 to 99 of every A (IEC 62056-6-1 tables 7 to 10). They are
// facts about the meter unless they say otherwise.
var general = []struct {
	c, d, e     byte
	name, label string
	dimension   Dimension
	unit        Unit
	nature      Nature
	rare        bool
}{
	// Billing periods.
	{0, 1, 0, "billing_resets", "Billing resets", Count, "", Total, true},
	{0, 1, 1, "billing_periods", "Billing periods stored", Count, "", Fact, true},
	{0, 1, 2, "billing_time", "Last billing reset", NoDimension, "", Fact, true},

	// Programs.
	{0, 2, 0, "firmware_version", "Firmware version", NoDimension, "", Fact, false},
	{0, 2, 1, "parameter_set", "Parameter set", NoDimension, "", Fact, true},
	{0, 2, 2, "tariff_program", "Tariff program", NoDimension, "", Fact, true},
	{0, 2, 3, "ripple_program", "Ripple control program", NoDimension, "", Fact, true},
	{0, 2, 4, "connection_diagram", "Connection diagram", NoDimension, "", Fact, true},
	{0, 2, 7, "passive_tariff_program", "Passive tariff program", NoDimension, "", Fact, true},
	{0, 2, 8, "version", "Version", NoDimension, "", Fact, false},
	{0, 2, 129, "list_version", "List version", NoDimension, "", Fact, true},

	// Constants.
	{0, 3, 0, "pulse_constant_energy_led", "Pulse constant energy LED", Ratio, "", Fact, true},
	{0, 3, 1, "pulse_constant_reactive_led", "Pulse constant reactive energy LED", Ratio, "", Fact, true},
	{0, 3, 2, "pulse_constant_apparent_led", "Pulse constant apparent energy LED", Ratio, "", Fact, true},
	{0, 3, 3, "pulse_constant_energy", "Pulse constant energy", Ratio, "", Fact, true},
	{0, 3, 4, "pulse_constant_reactive", "Pulse constant reactive energy", Ratio, "", Fact, true},
	{0, 3, 5, "pulse_constant_apparent", "Pulse constant apparent energy", Ratio, "", Fact, true},
	{0, 4, 0, "reading_factor_power", "Reading factor power", Ratio, "", Fact, true},
	{0, 4, 1, "reading_factor_energy", "Reading factor energy", Ratio, "", Fact, true},
	{0, 4, 2, "current_transformer_ratio", "Current transformer ratio", Ratio, "", Fact, true},
	{0, 4, 3, "voltage_transformer_ratio", "Voltage transformer ratio", Ratio, "", Fact, true},
	{0, 4, 4, "transformer_ratio", "Transformer ratio", Ratio, "", Fact, true},
	{0, 4, 5, "current_transformer_divisor", "Current transformer divisor", Ratio, "", Fact, true},
	{0, 4, 6, "voltage_transformer_divisor", "Voltage transformer divisor", Ratio, "", Fact, true},
	{0, 4, 7, "transformer_divisor", "Transformer divisor", Ratio, "", Fact, true},
	{0, 6, 0, "voltage_nominal", "Nominal voltage", Voltage, "V", Fact, true},
	{0, 6, 1, "current_nominal", "Nominal current", Current, "A", Fact, true},
	{0, 6, 2, "frequency_nominal", "Nominal frequency", Frequency, "Hz", Fact, true},
	{0, 6, 3, "current_highest", "Highest current", Current, "A", Fact, true},
	{0, 8, 0, "demand_period", "Demand period", Duration, "min", Fact, true},
	{0, 8, 4, "recording_interval", "Recording interval", Duration, "min", Fact, true},
	{0, 8, 5, "recording_interval_2", "Recording interval 2", Duration, "min", Fact, true},
	{0, 8, 6, "billing_period", "Billing period", Duration, "", Fact, true},

	// Clocks. They would fill the history of every day if they were shown.
	{0, 9, 0, "days_since_billing", "Days since billing reset", Duration, "d", Fact, true},
	{0, 9, 1, "local_time", "Local time", Clock, "", Fact, true},
	{0, 9, 2, "local_date", "Local date", Clock, "", Fact, true},
	{0, 9, 5, "weekday", "Weekday", NoDimension, "", Fact, true},
	{0, 9, 6, "billing_reset_time", "Billing reset time", Clock, "", Fact, true},
	{0, 9, 7, "billing_reset_date", "Billing reset date", Clock, "", Fact, true},
	{1, 0, 0, "clock", "Clock", Clock, "", Fact, true},
	{1, 0, 1, "clock_precise", "Clock with fractions", Clock, "", Fact, true},
	{1, 0, 2, "clock_unix", "Clock in Unix time", Clock, "", Fact, true},

	// Control.
	{17, 0, 0, "power_limit", "Power limit", Power, "W", Fact, false},
	{25, 9, 0, "push_list", "Push list", NoDimension, "", Fact, true},
	{42, 0, 0, "logical_device_name", "Logical device name", NoDimension, "", Fact, true},

	// A meter behind this one; B is its channel.
	{24, 1, 0, "device_type", "Device type", NoDimension, "", Fact, true},
	{24, 3, 0, "reading_profile", "Meter reading profile", NoDimension, "", Fact, true},
	{24, 4, 0, "valve", "Valve", NoDimension, "", Fact, true},
	{24, 5, 0, "device_log", "Device log", NoDimension, "", Fact, true},

	// Numbers and names. Who prints which of them under what differs by country.
	{96, 1, 0, "serial_number", "Serial number", NoDimension, "", Fact, true},
	{96, 1, 1, "equipment_id", "Equipment identifier", NoDimension, "", Fact, true},
	{96, 1, 2, "device_id_3", "Device identifier 3", NoDimension, "", Fact, true},
	{96, 1, 3, "device_id_4", "Device identifier 4", NoDimension, "", Fact, true},
	{96, 1, 4, "device_id_5", "Device identifier 5", NoDimension, "", Fact, true},
	{96, 1, 5, "device_id_6", "Device identifier 6", NoDimension, "", Fact, true},
	{96, 1, 6, "device_id_7", "Device identifier 7", NoDimension, "", Fact, true},
	{96, 1, 7, "meter_type", "Meter type", NoDimension, "", Fact, true},
	{96, 1, 8, "device_id_9", "Device identifier 9", NoDimension, "", Fact, true},
	{96, 1, 9, "device_id_10", "Device identifier 10", NoDimension, "", Fact, true},
	{96, 1, 10, "metering_point_id", "Metering point", NoDimension, "", Fact, true},
	{96, 1, 255, "device_ids", "Device identifiers", NoDimension, "", Fact, true},
	{96, 90, 1, "address_1", "Address 1", NoDimension, "", Fact, true},
	{96, 90, 2, "address_2", "Address 2", NoDimension, "", Fact, true},

	// Changes of the configuration.
	{96, 2, 0, "configuration_changes", "Configuration changes", Count, "", Total, true},
	{96, 2, 1, "configuration_date", "Last configuration change", NoDimension, "", Fact, true},
	{96, 2, 2, "tariff_program_date", "Last tariff program change", NoDimension, "", Fact, true},
	{96, 2, 3, "ripple_program_date", "Last ripple control program change", NoDimension, "", Fact, true},
	{96, 2, 4, "security_changes", "Security switches", NoDimension, "", Fact, true},
	{96, 2, 5, "calibration_date", "Last calibration", NoDimension, "", Fact, true},
	{96, 2, 10, "clock_sync_date", "Last clock synchronisation", NoDimension, "", Fact, true},
	{96, 2, 11, "firmware_activation_date", "Last firmware activation", NoDimension, "", Fact, true},
	{96, 2, 12, "clock_set_date", "Last clock setting", NoDimension, "", Fact, true},

	// Inputs, outputs, states.
	{96, 3, 0, "control_signals", "Control signals", NoDimension, "", Fact, true},
	{96, 3, 1, "inputs", "Inputs", NoDimension, "", Fact, true},
	{96, 3, 2, "outputs", "Outputs", NoDimension, "", Fact, true},
	{96, 3, 3, "inputs_2", "Inputs 2", NoDimension, "", Fact, true},
	{96, 3, 4, "outputs_2", "Outputs 2", NoDimension, "", Fact, true},
	{96, 3, 10, "breaker", "Breaker", NoDimension, "", Fact, false},
	{96, 4, 0, "internal_control_signals", "Internal control signals", NoDimension, "", Fact, true},
	{96, 4, 1, "internal_control_signals_1", "Internal control signals 1", NoDimension, "", Fact, true},
	{96, 4, 2, "internal_control_signals_2", "Internal control signals 2", NoDimension, "", Fact, true},
	{96, 4, 3, "internal_control_signals_3", "Internal control signals 3", NoDimension, "", Fact, true},
	{96, 4, 4, "internal_control_signals_4", "Internal control signals 4", NoDimension, "", Fact, true},
	{96, 5, 0, "status", "Status", NoDimension, "", Fact, false},
	{96, 5, 1, "status_1", "Status 1", NoDimension, "", Fact, true},
	{96, 5, 2, "status_2", "Status 2", NoDimension, "", Fact, true},
	{96, 5, 3, "status_3", "Status 3", NoDimension, "", Fact, true},
	{96, 5, 4, "status_4", "Status 4", NoDimension, "", Fact, true},
	{96, 5, 5, "status_5", "Status 5", NoDimension, "", Fact, true},
	{96, 10, 0, "status_register", "Status register", NoDimension, "", Fact, true},
	{96, 10, 1, "status_register_1", "Status register 1", NoDimension, "", Fact, true},
	{96, 10, 2, "status_register_2", "Status register 2", NoDimension, "", Fact, true},
	{96, 10, 3, "status_register_3", "Status register 3", NoDimension, "", Fact, true},
	{96, 10, 4, "status_register_4", "Status register 4", NoDimension, "", Fact, true},
	{96, 11, 0, "event_code", "Event code", NoDimension, "", Fact, true},
	{96, 11, 1, "event_code_1", "Event code 1", NoDimension, "", Fact, true},
	{97, 97, 0, "error_flags", "Error flags", NoDimension, "", Fact, false},
	{97, 97, 1, "error_flags_1", "Error flags 1", NoDimension, "", Fact, true},
	{97, 97, 2, "error_flags_2", "Error flags 2", NoDimension, "", Fact, true},
	{97, 98, 0, "alarms", "Alarms", NoDimension, "", Fact, true},

	// Battery.
	{96, 6, 0, "battery_use_time", "Battery use time", Duration, "h", Total, true},
	{96, 6, 1, "battery_charge", "Battery charge", Battery, "%", Momentary, false},
	{96, 6, 2, "battery_change_date", "Next battery change", NoDimension, "", Fact, true},
	{96, 6, 3, "battery_voltage", "Battery voltage", Voltage, "V", Momentary, true},
	{96, 6, 4, "battery_capacity", "Battery capacity", NoDimension, "", Fact, true},
	{96, 6, 5, "battery_installation_date", "Battery installation", NoDimension, "", Fact, true},
	{96, 6, 6, "battery_remaining", "Battery remaining", Duration, "d", Momentary, false},
	{96, 6, 10, "auxiliary_supply_time", "Auxiliary supply use time", Duration, "h", Total, true},

	// Power failures. Which is long, 96.7.20 says; usually above three minutes.
	{96, 7, 0, "power_failures_all_phases", "Power failures all phases", Count, "", Total, true},
	{96, 7, 4, "auxiliary_supply_failures", "Auxiliary supply failures", Count, "", Total, true},
	{96, 7, 5, "long_power_failures_all_phases", "Long power failures all phases", Count, "", Total, true},
	{96, 7, 9, "long_power_failures", "Long power failures", Count, "", Total, false},
	{96, 7, 10, "power_failure_time_all_phases", "Last power failure all phases", NoDimension, "", Fact, true},
	{96, 7, 14, "auxiliary_supply_failure_time", "Last auxiliary supply failure", NoDimension, "", Fact, true},
	{96, 7, 15, "long_power_failure_duration_all_phases", "Long power failure duration all phases", Duration, "s", Momentary, true},
	{96, 7, 19, "long_power_failure_duration", "Long power failure duration", Duration, "s", Momentary, true},
	{96, 7, 20, "long_power_failure_threshold", "Long power failure threshold", Duration, "s", Fact, true},
	{96, 7, 21, "power_failures", "Power failures", Count, "", Total, false},

	// Operation and surroundings.
	{96, 8, 0, "operating_time", "Operating time", Duration, "h", Total, true},
	{96, 9, 0, "ambient_temperature", "Ambient temperature", Temperature, "°C", Momentary, true},
	{96, 9, 1, "ambient_temperature_minimum", "Ambient temperature minimum", Temperature, "°C", Periodic, true},
	{96, 9, 2, "ambient_temperature_maximum", "Ambient temperature maximum", Temperature, "°C", Periodic, true},
	{96, 12, 0, "connections", "Connections", Count, "", Total, true},
	{96, 12, 4, "communication_settings", "Communication settings", NoDimension, "", Fact, true},
	{96, 12, 5, "signal_strength", "Signal strength", Signal, "dBm", Momentary, true},
	{96, 12, 6, "phone_number", "Phone number", NoDimension, "", Fact, true},

	// Texts and tariff.
	{96, 13, 0, "message", "Message", NoDimension, "", Fact, false},
	{96, 13, 1, "message_code", "Message code", NoDimension, "", Fact, true},
	{96, 13, 2, "message_2", "Message 2", NoDimension, "", Fact, true},
	{96, 13, 3, "message_3", "Message 3", NoDimension, "", Fact, true},
	{96, 13, 4, "message_4", "Message 4", NoDimension, "", Fact, true},
	{96, 13, 5, "message_5", "Message 5", NoDimension, "", Fact, true},
	{96, 14, 0, "active_tariff", "Active tariff", NoDimension, "", Fact, false},
	{96, 14, 1, "active_tariff_1", "Active tariff 1", NoDimension, "", Fact, true},
	{96, 14, 2, "active_tariff_2", "Active tariff 2", NoDimension, "", Fact, true},

	// Seals.
	{96, 20, 0, "cover_openings", "Meter cover openings", Count, "", Total, true},
	{96, 20, 1, "cover_opening_date", "Last meter cover opening", NoDimension, "", Fact, true},
	{96, 20, 5, "terminal_openings", "Terminal cover openings", Count, "", Total, true},
	{96, 20, 6, "terminal_opening_date", "Last terminal cover opening", NoDimension, "", Fact, true},

	// Lists and logs.
	{98, 1, 0, "billing_data", "Billing data", NoDimension, "", Fact, true},
	{98, 2, 0, "billing_data_2", "Billing data 2", NoDimension, "", Fact, true},
	{99, 1, 0, "load_profile", "Load profile", NoDimension, "", Fact, true},
	{99, 2, 0, "load_profile_2", "Load profile 2", NoDimension, "", Fact, true},
	{99, 97, 0, "power_failure_log", "Power failure log", NoDimension, "", Fact, true},
	{99, 98, 0, "event_log", "Event log", NoDimension, "", Fact, true},
}

// perPhase are general codes that come for L1, L2 and L3 as E, E+1 and E+2.
var perPhase = []struct {
	c, d, e     byte
	name, label string
	dimension   Dimension
	unit        Unit
	nature      Nature
}{
	{96, 7, 1, "power_failures", "Power failures", Count, "", Total},
	{96, 7, 6, "long_power_failures", "Long power failures", Count, "", Total},
	{96, 7, 11, "power_failure_time", "Last power failure", NoDimension, "", Fact},
	{96, 7, 16, "long_power_failure_duration", "Long power failure duration", Duration, "s", Momentary},
}

// measures are general codes that are not diagnostic: what people read.
var measures = []spot{at(0, 96, 13, 0), at(0, 96, 14, 0), at(0, 96, 9, 0)}

func addGeneral(all map[spot]Entry) {
	for _, g := range general {
		all[at(0, g.c, g.d, g.e)] = Entry{
			Name: g.name, Label: g.label,
			Dimension: g.dimension, Unit: g.unit, Nature: g.nature,
			Diagnostic: true, Rare: g.rare,
		}
	}
	for _, g := range perPhase {
		for i := range byte(3) {
			all[at(0, g.c, g.d, g.e+i)] = Entry{
				Name: g.name + phaseNames[i+1], Label: g.label + phaseLabels[i+1],
				Dimension: g.dimension, Unit: g.unit, Nature: g.nature,
				Phase: i + 1, Diagnostic: true, Rare: true,
			}
		}
	}
	for _, s := range measures {
		e := all[s]
		e.Diagnostic = false
		all[s] = e
	}
	addNumbers(all)
	addChannels(all)
}

// addNumbers adds the ten numbers of value group C.D = 0.0 and the operating
// times of the tariffs, 96.8.1 and on.
func addNumbers(all map[spot]Entry) {
	for n := 1; n <= 10; n++ {
		all[at(0, 0, 0, byte(n-1))] = Entry{
			Name: "id_" + decimal(n), Label: "Identification " + decimal(n),
			Diagnostic: true, Rare: true,
		}
	}
	operating := all[at(0, 96, 8, 0)]
	for n := byte(1); n <= 4; n++ {
		all[at(0, 96, 8, n)] = operating.withTariff(n)
	}
}

// addChannels adds the readings of a meter behind this one. What they measure is
// not in their code: LookupMedium tells.
func addChannels(all map[spot]Entry) {
	for i, r := range channelReadings {
		all[at(0, 24, 2, byte(i+1))] = Entry{
			Name: "reading" + r.suffix, Label: "Meter reading" + r.word, Nature: Total,
		}
	}
}

// channelReadings are 0-n:24.2.1 to 4. Belgian meters print gas that is not
// corrected for temperature as 24.2.3.
var channelReadings = [...]struct{ suffix, word string }{
	{"", ""},
	{"_2", " 2"},
	{"_uncorrected", " uncorrected"},
	{"_4", " 4"},
}
