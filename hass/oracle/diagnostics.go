package oracle

// Diagnostics are the entities that every meter has beside its quantities: how
// well it is heard. deviceID is "meter2mqtt_main", device its name. A meter that
// is asked also has its round trip.
func Diagnostics(deviceID, device string, asked bool) []Row {
	row := func(key, name, state string) Row {
		return Row{UniqueID: deviceID + "_diagnostic_" + key, Device: device, Name: name, State: state, Category: "diagnostic"}
	}
	count := func(key, name string) Row {
		r := row(key, name, "/^[0-9]+$/")
		r.StateClass = "total_increasing"
		return r
	}
	hidden := func(key, name string) Row {
		r := row(key, name, "")
		r.Disabled = true
		return r
	}
	line, last := row("line", "Line", "open"), row("last", "Last telegram", "/^20/")
	line.DeviceClass, last.DeviceClass = "enum", "timestamp"
	rows := []Row{
		line, last, hidden("good", "Good telegrams"), hidden("damaged", "Damaged telegrams"),
		count("refused", "Refused telegrams"), count("held_back", "Totals held back"),
		row("event", "Event", "/^(unknown|20.*)$/"), // of what happened before Home Assistant listened, nothing is known
	}
	if asked {
		rows = append(rows, hidden("round_trip", "Round trip"), hidden("retries", "Retries"))
	}
	return rows
}
