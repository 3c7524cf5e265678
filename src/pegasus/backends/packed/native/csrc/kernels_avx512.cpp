#include "kernels_body.h"

void fill_avx512(Kernels& table) { fill(table); }
