package bridge

// topics are the topics of one meter, made once.
type topics struct {
	availability, info, state, history, event, diagnostic, value, parameter, result string
}

func topicsOf(base, name string) topics {
	t := base + "/" + name + "/"
	return topics{
		availability: t + "availability",
		info:         t + "info",
		state:        t + "state",
		history:      t + "history",
		event:        t + "event",
		diagnostic:   t + "diagnostic",
		value:        t + "value/",
		parameter:    t + "parameter/",
		result:       t + "result",
	}
}

// The topics of the gateway itself.
func bridgeAvailability(base string) string { return base + "/bridge/availability" }
func bridgeInfo(base string) string         { return base + "/bridge/info" }

const (
	online  = "online"
	offline = "offline"
)

func availability(up bool) string {
	if up {
		return online
	}
	return offline
}
