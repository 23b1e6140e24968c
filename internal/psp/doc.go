// Package psp is a payment service that takes nobody's money: a real HTTP server with a
// ledger, for tests, the demo and whoever builds against it. It does on purpose, by card,
// by share or from a moment on, what real services do at times (Cards, Faults).
//
// Amounts are in minor units. Every POST carries an Idempotency-Key: the same key and body
// are answered as they were the first time, another body is 422 key_reused, one that comes
// while the first is being served 409 in_progress. A request that was refused changed
// nothing and is not remembered. The key of an authorisation is the payment's name.
//
//	POST /payments                          {amount, currency, method, return_url}
//	POST /payments/by-key/{key}/capture     {amount, currency}; once, up to what is reserved
//	POST /payments/by-key/{key}/void
//	POST /payments/by-key/{key}/refund      {amount, currency}; several, each with a key of its own
//	GET  /payments/by-key/{key}
//	GET  /ledger                            every entry, every payment, and the sums; ?sums for these alone
//	GET  /faults, POST /faults              what goes wrong from now on; fields that are left out stay
//	GET  /pay/{id}, POST /pay/{id}          the page on which a person approves or refuses
//
// An answer is payment.Payment or payment.Problem. States of a payment:
//
//	            ┌────────────── pending ──────────────┐
//	            │ approve          │ void, lapse      │ refuse
//	            ▼                  ▼                  ▼
//	──────► authorised ───────► voided            declined ◄──────
//	            │      void, lapse
//	            │ capture
//	            ▼       refund of all that is left
//	        captured ─────────────────────────────► refunded
//	            ▲ │ refund of a part
//	            └─┘
//
// What an answer or a callback said is in the journal, on disk, before it is said. /ledger,
// /faults and the page ask nobody for a password: it is a service for one's own machine.
package psp
