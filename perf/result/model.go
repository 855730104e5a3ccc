package result

import "math"

// Model is the cost of a packet over the number of viewers, a/N + b: receiving, opening and routing a packet costs a once, sealing and
// sending it costs b for each viewer.
type Model struct {
	A, B float64 // us
	Off  float64 // the worst deviation of a measured cost from the model, as a share of the cost
}

// Point is a measured cost.
type Point struct {
	Viewers int
	Cost    float64 // us/packet
}

// Fit finds the model with the least squared relative deviation; false with fewer than two different numbers of viewers.
func Fit(points []Point) (m Model, ok bool) {
	// Minimises sum((a*x + b)/y - 1)^2 with x = 1/N: the normal equations of u = x/y and v = 1/y.
	var uu, uv, vv, u1, v1 float64
	for _, p := range points {
		u, v := 1/float64(p.Viewers)/p.Cost, 1/p.Cost
		uu, uv, vv, u1, v1 = uu+u*u, uv+u*v, vv+v*v, u1+u, v1+v
	}
	det := uu*vv - uv*uv
	if det <= 1e-12*uu*vv || math.IsNaN(det) {
		return m, false
	}
	m.A, m.B = (u1*vv-v1*uv)/det, (v1*uu-u1*uv)/det
	for _, p := range points {
		m.Off = max(m.Off, math.Abs(m.At(p.Viewers)/p.Cost-1))
	}
	return m, true
}

// At is the model's cost for some viewers, us/packet.
func (m Model) At(viewers int) float64 { return m.A/float64(viewers) + m.B }
