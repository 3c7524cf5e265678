// The border of the C interface: nothing is thrown past it.
#pragma once

#include <exception>
#include <system_error>

#include "model/codes.h"

// What the function returns, or the code of what it throws. Beside memory only threads can be wanting: std::thread
// says so with std::system_error.
template <class Function>
int32_t guarded(Function&& function) {
    try {
        return function();
    } catch (const std::system_error&) {
        return PG_NO_THREADS;
    } catch (const std::exception&) {
        return PG_NO_MEMORY;
    }
}
