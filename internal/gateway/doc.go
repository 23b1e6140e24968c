// Package gateway is the public edge of waitroom: which requests may open a
// connection (origins, bounds, limits per address, a place that is offered), the
// drain, and the link between a connection and its conversation.
//
// What a visitor may say is conversation's, how bytes become messages socket's; a
// visitor here joins the two. TLS ends in front of this.
package gateway
