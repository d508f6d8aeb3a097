//go:build !race

package cache_test

const race = false
