#include "attention/kernels_body.h"

constinit const Kernels kernels_avx512 = kTable;
