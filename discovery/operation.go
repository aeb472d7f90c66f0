package discovery

// Operation is what can be done with the bridge itself.
type Operation struct {
	LogLevels []string // that can be chosen; none: the level cannot be changed
	Lines     []string // a meter of each line, which stands for the line
}

// addOperation adds a button or a select for each request of the bridge.
func (t Topics) addOperation(all map[string]component, id string, o Operation) {
	request := func(name string) string { return t.Base + "/bridge/request/" + name }
	button := func(key, label, topic, payload string) {
		all[key] = component{
			Platform: "button", UniqueID: UniqueID(id, key), Name: label, Category: "config",
			CommandTopic: request(topic), PayloadPress: payload,
		}
	}
	button("poll", "Read all meters now", "poll", Press)
	button("reload", "Reload configuration", "reload", Press)
	if len(o.LogLevels) > 0 {
		all["log_level"] = component{
			Platform: "select", UniqueID: UniqueID(id, "log_level"), Name: "Log level", Category: "config",
			CommandTopic: request("log_level"), StateTopic: t.Base + "/bridge/info", Options: o.LogLevels,
			Template: valueTemplate("log_level"),
		}
	}
	for _, meter := range o.Lines {
		button("pause_"+meter, "Pause line of "+meter, "pause", meter)
		button("resume_"+meter, "Resume line of "+meter, "resume", meter)
		button("record_"+meter, "Record line of "+meter, "record", meter)
	}
}
