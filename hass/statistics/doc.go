// Package statistics puts hours that an outage cost into Home Assistant's
// long-term statistics. It is pure: readings and Home Assistant's own rows come
// in, what must be written comes out.
//
// # What Home Assistant keeps
//
// A row an hour (kept for ever) and a row each five minutes (kept for days), by
// UTC. Each has a state, the register at the row's end, and a sum, what was
// consumed since the statistic began. Home Assistant makes the next sum from the
// newest five-minute row: whatever an outage cost lands in the first row after
// it.
//
// # What is done about it
//
// The hours whose end nobody saw get the register that was read there, and a sum
// that goes on from the row before them. Where a register fell, the meter was
// exchanged: nothing was consumed by that. The first row behind the hours tells
// whether Home Assistant has counted the same; if not, it and all later rows are
// shifted. Rows that stand there already are not written again, so a second run
// changes nothing.
//
// # Decision: registers, not consumption
//
// Rejected: importing differences. The register at an hour's end is what the
// meter can be held to, it joins exactly on both sides, and a reading more or
// less in between changes nothing.
package statistics
