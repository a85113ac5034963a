// Package e2e runs the real binaries: rbee, its workers and llama.cpp, as a user would.
package e2e
