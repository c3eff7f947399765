/* What the C library has had since 2.32, and GCC's headers ask for: whether the process has one thread only. Counters of
   references are then changed without atomic instructions; never here. */
__attribute__((visibility("hidden"))) char __libc_single_threaded = 0;
