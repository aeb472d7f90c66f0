package discovery

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// platformOnly is what is left of a component that is to go.
type platformOnly struct {
	Platform string `json:"platform"`
}

// Removal is the payload that takes out of Home Assistant the entities that
// previous announced and next does not: next, with nothing but the platform in
// their places. Leaving them out removes nothing. It is published once before
// next. nil: none goes, or previous is no payload of ours.
func Removal(previous, next []byte) []byte {
	var before struct {
		Components map[string]platformOnly `json:"components"`
	}
	var after map[string]json.RawMessage
	var components map[string]json.RawMessage
	if json.Unmarshal(previous, &before) != nil || json.Unmarshal(next, &after) != nil ||
		json.Unmarshal(after["components"], &components) != nil {
		return nil
	}
	gone := false
	for id, c := range before.Components {
		if _, stays := components[id]; stays || c.Platform == "" {
			continue
		}
		components[id], _ = json.Marshal(c) // a struct of one string
		gone = true
	}
	if !gone {
		return nil
	}
	after["components"], _ = json.Marshal(components) // raw JSON by names
	payload, _ := json.Marshal(after)
	return payload
}

// outline is what is remembered of a payload.
type outline struct {
	Components map[string]platformOnly `json:"components"`
	Digest     string                  `json:"digest"`
}

// Outline is what Removal has to know of a payload that was published, a tenth of
// it: its entities, and a digest, so that two outlines differ if the payloads do.
func Outline(payload []byte) []byte {
	var o outline
	_ = json.Unmarshal(payload, &o) // of what is no payload of ours the digest is left
	sum := sha256.Sum256(payload)
	o.Digest = hex.EncodeToString(sum[:16])
	b, _ := json.Marshal(o) // maps and structs of strings
	return b
}
