//go:build !linux

package main

import "os/exec"

// dieWithParent is for Linux only; elsewhere a killed test leaves its server.
func dieWithParent(*exec.Cmd) {}
