#include "kernels_body.h"

void fill_portable(Kernels& table) { fill(table); }
