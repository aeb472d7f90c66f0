// Package bridge runs the gateway: it supervises the lines, keeps each meter's
// picture, publishes it and announces it to Home Assistant. It sees the types of
// package drivers only and knows no protocol.
//
// # A picture
//
// Meters send their values in turns: a HAN port the power each two seconds, the
// totals each hour. So what is published is not a telegram but the meter's
// picture: the last accepted value of every known key. A key that is not renewed
// within several times its own pace becomes null.
//
// # Commands
//
// A command goes by its topic to its meter, which lets it through if the
// configuration names the Parameter and the Parameter takes the value. Then it waits
// in the queue of the meter's line, and the line's goroutine carries it out between
// two readings. Before a write is sent, the ledger notes it on the disk; after that
// nothing sends it again. Each command is answered once. What the answer says of a
// write that failed is what can be known: not done only where the driver vouches for
// it.
//
// # Goroutines
//
// One a line, which feeds its meter; one for the broker; one housekeeper, that
// once a second looks at every meter for what only time brings: silence, stale
// keys, a state that waited for its gap to end. Run starts them and waits for
// them. A meter's data is behind its own lock; publishing never blocks.
package bridge
