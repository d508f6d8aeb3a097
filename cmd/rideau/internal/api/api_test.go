package api_test

import (
	"bytes"
	"encoding"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"rideau/cmd/rideau/internal/api"
)

var update = flag.Bool("update", false, "write openapi.json")

// TestDocument: openapi.json has each request and each field of the answers, and no others.
func TestDocument(t *testing.T) {
	d := &document{schemas: map[string]any{"Problem": map[string]any{"type": "object", "required": []string{"type", "title", "status", "detail"}, "properties": map[string]any{
		"type": text, "title": text, "status": map[string]any{"type": "integer"}, "detail": text}}}}
	paths := map[string]any{}
	for _, o := range api.Operations() {
		parameters := []any{}
		for _, p := range o.Parameters {
			parameters = append(parameters, map[string]any{"name": p, "in": "query", "required": o.Path == "/explain" && p != "type", "schema": map[string]any{"type": "string", "maxLength": 300}})
		}
		problem := map[string]any{"description": "What went wrong.", "content": map[string]any{"application/problem+json": map[string]any{"schema": ref("Problem")}}}
		paths[api.Prefix+o.Path] = map[string]any{"get": map[string]any{"operationId": strings.TrimPrefix(o.Path, "/"), "summary": o.What, "x-role": o.Needs.String(), "parameters": parameters,
			"responses": map[string]any{"default": problem, "200": map[string]any{"description": o.What, "content": map[string]any{"application/json": map[string]any{"schema": d.of(reflect.TypeOf(o.Value))}}}}}}
	}
	want, err := json.MarshalIndent(map[string]any{"openapi": "3.1.0", "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"info":  map[string]any{"title": "Rideau, read interface", "version": "1"},
		"paths": paths, "components": map[string]any{"schemas": d.schemas, "securitySchemes": map[string]any{"token": map[string]any{"type": "http", "scheme": "bearer"}}},
		"security": []any{map[string]any{"token": []any{}}, map[string]any{}}}, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("openapi.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile("openapi.json"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("openapi.json is not what the interface answers (%v); write it with go test ./cmd/rideau/internal/api -update", err)
	}
	for _, r := range api.Routes(nil) {
		if _, ok := paths[r.Path]; !ok && r.Path != api.Prefix+"/openapi.json" || r.Method != http.MethodGet {
			t.Errorf("%s %s is not in the document", r.Method, r.Path)
		}
		if err := r.Check(); err != nil {
			t.Error(err)
		}
	}
}

var text = map[string]any{"type": "string"}

func ref(name string) any { return map[string]any{"$ref": "#/components/schemas/" + name} }

// document collects the schemas of types.
type document struct{ schemas map[string]any }

// of returns the schema of a type as package encoding/json writes it.
func (d *document) of(t reflect.Type) any {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return map[string]any{"type": "string", "format": "date-time"}
	case t.Implements(reflect.TypeFor[json.Marshaler]()):
		return map[string]any{}
	case t.Implements(reflect.TypeFor[encoding.TextMarshaler]()):
		return text
	}
	switch t.Kind() {
	case reflect.Pointer:
		return map[string]any{"anyOf": []any{d.of(t.Elem()), map[string]any{"type": "null"}}}
	case reflect.String:
		return text
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": []string{"array", "null"}, "items": d.of(t.Elem())}
	case reflect.Array:
		return map[string]any{"type": "array", "items": d.of(t.Elem())}
	case reflect.Map:
		return map[string]any{"type": []string{"object", "null"}, "additionalProperties": d.of(t.Elem())}
	case reflect.Struct:
		name := strings.ReplaceAll(t.String(), ".", "_")
		if _, known := d.schemas[name]; !known {
			d.schemas[name] = nil // it may contain itself
			properties, required := map[string]any{}, []string{}
			d.fields(t, properties, &required)
			d.schemas[name] = map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
		}
		return ref(name)
	case reflect.Interface:
		return map[string]any{}
	}
	return map[string]any{"type": "integer"}
}

func (d *document) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for _, f := range reflect.VisibleFields(t) {
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if tag == "-" || !f.IsExported() || f.Anonymous && tag == "" {
			continue
		}
		if tag == "" {
			tag = f.Name
		}
		properties[tag] = d.of(f.Type)
		if !strings.Contains(options, "omit") {
			*required = append(*required, tag)
		}
	}
}
