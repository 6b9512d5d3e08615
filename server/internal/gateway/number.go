package gateway

import (
	"math"
	"strconv"
	"strings"
)

// exact returns the double that a JSON number stands for, and whether that double, written in its shortest form, is
// the same number: 0.1 is, 2^53+1 is not, nor is anything that overflows or vanishes.
func exact(text string) (float64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return 0, false
	}
	digits, exponent, ok := decimal(text)
	if !ok {
		return 0, false
	}
	shortest, exponent2, _ := decimal(strconv.FormatFloat(f, 'e', -1, 64))
	return f, digits == shortest && exponent == exponent2
}

// decimal takes a JSON number apart into its significant digits and the power of ten of the last of them, signs aside.
// It reports false for an exponent that no double has, so that nothing is computed with it.
func decimal(text string) (digits string, exponent int, ok bool) {
	mantissa, power, hasPower := strings.Cut(strings.ToLower(strings.TrimPrefix(text, "-")), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits = strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return "", 0, true
	}
	if hasPower {
		if exponent, ok = bounded(power); !ok {
			return "", 0, false
		}
	}
	trimmed := strings.TrimRight(digits, "0")
	return trimmed, exponent - len(fraction) + len(digits) - len(trimmed), true
}

func bounded(power string) (int, bool) {
	n, err := strconv.Atoi(power)
	return n, err == nil && -5000 <= n && n <= 5000
}
