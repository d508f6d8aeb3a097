package access

import (
	"mime"
	"net/http"
	"strconv"
	"strings"
)

// language returns the language for a request, en or fr: that of the cookie, or that
// which the browser prefers (RFC 9110 section 12.5.4). It is English if neither is
// preferred.
func language(r *http.Request) string {
	if c, err := r.Cookie(LangCookie); err == nil && (c.Value == "en" || c.Value == "fr") {
		return c.Value
	}
	weight := map[string]float64{}
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if v, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(v, 64); err != nil {
				continue
			}
		}
		primary, _, _ := strings.Cut(tag, "-")
		weight[primary] = max(weight[primary], q)
	}
	if weight["fr"] > weight["en"] {
		return "fr"
	}
	return "en"
}
