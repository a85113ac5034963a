// Package resident says how much memory a process has had in use.
package resident
