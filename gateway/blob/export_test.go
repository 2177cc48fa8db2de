package blob

// Hung counts the calls to drives that were given up and have not returned, as the breakers see it.
func (s *Store) Hung() int {
	hung := 0
	for _, h := range *s.health.drives.Load() {
		for _, b := range []*breaker{h.reads, h.writes, h.deletes} {
			b.mu.Lock()
			if b.hung < 0 {
				panic("more calls returned than were given up")
			}
			hung += b.hung
			b.mu.Unlock()
		}
	}
	return hung
}

// OpenBreakers counts the drives that are left alone, for reads and for writes.
func (s *Store) OpenBreakers() (reads, writes int) { return s.health.open() }
