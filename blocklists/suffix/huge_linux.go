package suffix

import (
	"syscall"
	"unsafe"
)

// huge asks the kernel for large pages under a large table. Look-ups go all
// over it, and with small pages each also has to look up the page. It is
// best effort, and to be called before the table is written to.
func huge[T entry | byte](b []T) {
	const page, least = 4096, 4 << 20
	size := cap(b) * int(unsafe.Sizeof(b[:1][0]))
	if size < least {
		return
	}
	start := unsafe.Pointer(&b[:1][0])
	all := unsafe.Slice((*byte)(start), size)
	skip := -int(uintptr(start)) & (page - 1)
	syscall.Madvise(all[skip:skip+(size-skip)&^(page-1)], syscall.MADV_HUGEPAGE)
}
