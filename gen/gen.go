// Package gen holds what is generated from the contract. This file alone is written by hand: it lets the server carry
// the OpenAPI document.
package gen

import _ "embed"

// OpenAPI is the OpenAPI 2.0 document of the REST door, as JSON.
//
//go:embed openapi/recovery_codes.swagger.json
var OpenAPI []byte
