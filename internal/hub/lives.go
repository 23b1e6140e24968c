package hub

// relive notes the life of the line that a read showed; none of a line that nobody wrote
// to yet. another: it is another one than the read before showed; first: there was none.
func (r *roster) relive(id string) (another, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if id == "" || id == r.life {
		return false, false
	}
	r.life = id
	r.lives++
	r.doubt()
	return true, r.lives == 1
}

// doubt has everybody looked up who was told of a turn. The caller holds mu.
func (r *roster) doubt() {
	for _, s := range r.others {
		if s.doubt() {
			r.schedule(s)
		}
	}
}

// lived is how many lives of the line were read so far.
func (r *roster) lived() uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lives
}

// looked ends the doubt about those who were looked up since lived said lives. A look-up
// that another life came into told of the one before: it is made once more.
func (r *roster) looked(asked []*Session, lives uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lives != r.lives {
		r.doubt()
		return
	}
	for _, s := range asked {
		if s.believe() {
			r.schedule(s)
		}
	}
}
