// All layers.

#pragma once

#include "hard_tanh.hpp"
#include "integers.hpp"
#include "matrix_vector.hpp"
#include "max_pool.hpp"
#include "padding.hpp"
#include "ports.hpp"
#include "sliding_window.hpp"
#include "stream.hpp"
#include "thresholds.hpp"
#include "width_converter.hpp"
