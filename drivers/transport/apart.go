package transport

// Apart does work on a goroutine of its own and waits for its end. What opening,
// reading and telling need of a stack is given back with it: a goroutine keeps what it
// once needed, and those of thousands of lines rest nearly all of the time.
func Apart(work func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	<-done
}
