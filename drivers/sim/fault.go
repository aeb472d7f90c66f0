package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// Fault is something that a simulated meter can do wrong.
type Fault struct {
	Name  string
	Doc   string // one sentence for --help
	Every int    // which telegram has it, unless NAME=N says otherwise: each N-th
}

// Faults are the faults of a driver's simulated meter.
func Faults(driver string) []Fault {
	for _, s := range all() {
		if s.driver == driver {
			return s.faults
		}
	}
	return nil
}

// parseFaults reads NAME and NAME=N into how often each fault comes. It tells all
// mistakes at once.
func parseFaults(wanted []string, known []Fault) (map[string]int, error) {
	every := map[string]int{}
	var mistakes []error
	for _, w := range wanted {
		name, n, err := parseFault(w, known)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		every[name] = n
	}
	return every, errors.Join(mistakes...)
}

// faultTurns counts, fault by fault, what could have had it.
type faultTurns struct {
	every map[string]int

	mu    sync.Mutex
	count map[string]int
}

// due counts once more, and says whether the fault comes now.
func (f *faultTurns) due(fault string) bool {
	every := f.every[fault]
	if every == 0 {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count == nil {
		f.count = map[string]int{}
	}
	f.count[fault]++
	return f.count[fault]%every == 0
}

func parseFault(s string, known []Fault) (name string, every int, err error) {
	name, count, given := strings.Cut(s, "=")
	var names []string
	for _, f := range known {
		names = append(names, f.Name)
		if f.Name != name {
			continue
		}
		if !given {
			return name, f.Every, nil
		}
		every, err = strconv.Atoi(count)
		if err != nil || every < 1 {
			return "", 0, fmt.Errorf("fault %.40q: want %s=N, each N-th telegram, N from 1 on", s, name)
		}
		return name, every, nil
	}
	return "", 0, fmt.Errorf("fault %.40q is not one of %s", s, strings.Join(names, ", "))
}
