// Package discovery makes the retained payloads that tell Home Assistant which
// devices and entities there are: from a meter's description to bytes. It has no
// client and no state; the same description gives the same bytes, so whether
// something changed is a comparison.
//
// # Ids
//
// Ids are for ever: people's history, automations and names hang on them. They
// come from the base topic, the meter's configured name and the key of the
// value, and from nothing else: not from the port, the order, the label or the
// serial number. The golden files in testdata hold them; a change there is a
// change of people's history.
package discovery
