package bridge

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/meter2mqtt/meter2mqtt/drivers"
	"github.com/meter2mqtt/meter2mqtt/drivers/capture"
	"github.com/meter2mqtt/meter2mqtt/drivers/p1"
	"github.com/meter2mqtt/meter2mqtt/drivers/wire"
)

// Of telegrams each second for an hour, every twentieth has one bit turned: that is
// shown as 5 %, however many broken frames the decoder finds in each.
func TestFivePercentOfDamageAreShownAsFivePercent(t *testing.T) {
	text := []byte("/ABC5METER-1\r\n\r\n1-0:1.8.1(000123.400*kWh)\r\n1-0:1.7.0(00.193*kW)\r\n!")
	telegram := fmt.Appendf(nil, "%s%04X\r\n", text, wire.ARC.Update(0, text))
	decoder, err := p1.Driver.NewDecoder(p1.Driver.NewConfig(), drivers.Zones{})
	if err != nil {
		t.Fatal(err)
	}
	var (
		q      quality
		r      drivers.Reading
		now    = time.Unix(1e9, 0)
		random = rand.New(rand.NewPCG(7, 7))
	)
	for n := range 3600 {
		said := bytes.Clone(telegram)
		if n%20 == 7 {
			said[16+random.IntN(len(text)-17)] ^= 1 << random.IntN(8)
		}
		decoder.Feed(said)
		decoder.Gap()
		err := capture.Drain(decoder, &r, capture.Sink{
			Reading: func(*drivers.Reading) error { q.heard(now); return nil },
			Refused: func(e *drivers.FrameError) {
				if isDamage(e) {
					q.damaged(now, time.Second)
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
	}
	if percent, known := q.percent(now); !known || percent < 4.5 || percent > 5.5 {
		t.Errorf("%.2f %% of damage, known %t; want 5 ± 0.5", percent, known)
	}
}

func TestDamageOfAnHourAgoIsForgotten(t *testing.T) {
	var q quality
	now := time.Unix(1e9, 0)
	q.damaged(now, 0)
	if percent, known := q.percent(now); !known || percent != 100 {
		t.Errorf("%v %% of damage, known %t; want 100", percent, known)
	}
	now = now.Add(59 * time.Minute)
	q.heard(now)
	if percent, _ := q.percent(now); percent != 50 {
		t.Errorf("%v %% of damage, want 50", percent)
	}
	now = now.Add(2 * time.Minute)
	if percent, _ := q.percent(now); percent != 0 {
		t.Errorf("%v %% of damage, want 0", percent)
	}
	if _, known := q.percent(now.Add(2 * time.Hour)); known {
		t.Error("a meter that says nothing has a damage rate")
	}
}
