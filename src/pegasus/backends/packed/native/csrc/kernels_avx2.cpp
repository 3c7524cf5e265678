#include "kernels_body.h"

void fill_avx2(Kernels& table) { fill(table); }
