package storagenode

import (
	"math"
	"time"
)

// meter measures a rate that follows changes within some seconds.
type meter struct {
	value float64 // decayed sum
	at    time.Time
}

const meterMemory = 5 * time.Second

func (m *meter) add(now time.Time, n float64) {
	m.value = m.perSecond(now)*meterMemory.Seconds() + n
	m.at = now
}

func (m *meter) perSecond(now time.Time) float64 {
	if m.at.IsZero() {
		return 0
	}
	return m.value * math.Exp(-now.Sub(m.at).Seconds()/meterMemory.Seconds()) / meterMemory.Seconds()
}
