package seatmap

import (
	"slices"
	"strings"

	"waitroom/internal/seat"
)

// readKinds notes of which kind each seat is.
func (p *plan) readKinds(seats []seat.Seat) {
	p.kindOf = make([]uint16, len(seats)) // maxKinds fits
	known := map[kind]uint16{}
	for i, s := range seats {
		k := kindOf(s)
		n, ok := known[k]
		if !ok {
			if len(p.kinds) >= maxKinds {
				k = kind{}
			}
			// Copies: the texts of a row may be part of a greater one.
			k.category, k.price.Currency = strings.Clone(k.category), strings.Clone(k.price.Currency)
			if n, ok = known[k]; !ok {
				n = uint16(len(p.kinds))
				p.kinds = append(p.kinds, k)
				known[k] = n
			}
		}
		p.kindOf[i] = n
	}
}

// tellKinds writes into the body what is said of the seats.
func (p *plan) tellKinds(body *planBody) {
	priceOf := make([]int, len(p.kinds)) // by kind, its place among the prices
	var prices []planPrice
	says := false
	for i, k := range p.kinds {
		one := planPrice{Category: k.category, Amount: k.price.Amount, Currency: k.price.Currency}
		if priceOf[i] = slices.Index(prices, one); priceOf[i] < 0 {
			priceOf[i] = len(prices)
			prices = append(prices, one)
		}
		says = says || one != planPrice{} || k.unnumbered
	}
	if !says {
		return
	}
	body.Prices = prices
	i := 0
	for s := range body.Sections {
		for r := range body.Sections[s].Rows {
			row := &body.Sections[s].Rows[r]
			var runs [][2]int
			row.Unnumbered = true
			for range row.length {
				k := p.kindOf[i]
				i++
				row.Unnumbered = row.Unnumbered && p.kinds[k].unnumbered
				if n := len(runs); n > 0 && runs[n-1][0] == priceOf[k] {
					runs[n-1][1]++
				} else {
					runs = append(runs, [2]int{priceOf[k], 1})
				}
			}
			if len(runs) > 1 || runs[0][0] != 0 {
				row.Prices = runs
			}
		}
	}
}
