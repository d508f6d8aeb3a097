//go:build race

package cache_test

const race = true
