#include "attention/kernels_body.h"

constinit const Kernels kernels_avx2 = kTable;
