//go:build !linux

package main

func reflect() {}
