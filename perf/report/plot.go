package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
)

// series is one line of a plot.
type series struct {
	name   string
	points [][2]float64
	fit    bool // drawn thin and dashed, without marks
}

// axis maps values to a length.
type axis struct {
	label    string
	low, top float64
	log      bool
	tail     bool // shares, with more room the closer they are to 1
}

// tailDecades is how many nines a tail axis shows.
const tailDecades = 4

// place is where a value lies on the axis, 0 to 1.
func (a axis) place(v float64) float64 {
	if a.tail {
		return min(-math.Log10(max(1-v, 1e-9))/tailDecades, 1)
	}
	if a.log {
		return (math.Log(v) - math.Log(a.low)) / (math.Log(a.top) - math.Log(a.low))
	}
	return (v - a.low) / (a.top - a.low)
}

// ticks are round values on the axis.
func (a axis) ticks() (list []float64) {
	if a.tail {
		return []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999}
	}
	if a.log {
		for decade := math.Pow(10, math.Floor(math.Log10(a.low))); decade <= a.top; decade *= 10 {
			for _, m := range []float64{1, 2, 5} {
				if v := m * decade; v >= a.low*0.999 && v <= a.top*1.001 {
					list = append(list, v)
				}
			}
		}
		return list
	}
	step := roundStep((a.top - a.low) / 5)
	for v := math.Ceil(a.low/step) * step; v <= a.top+step/1e6; v += step {
		list = append(list, v)
	}
	return list
}

// text is a tick's label.
func (a axis) text(v float64) string {
	if a.tail {
		return strconv.FormatFloat(100*v, 'f', -1, 64) + " %"
	}
	return number(v)
}

func roundStep(rough float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, m := range []float64{1, 2, 5} {
		if m*unit >= rough {
			return m * unit
		}
	}
	return 10 * unit
}

// The drawing area of a plot, in SVG units.
const (
	width, height        = 760, 320
	left, right          = 64, 20
	topMargin, underside = 12, 46
)

// palette has colours that differ in lightness too and stand out on white and on black.
var palette = []string{"#2f7ed8", "#e4572e", "#2aa876", "#b07aa1", "#d4a017", "#6b7a8f", "#17a2b8", "#8c564b"}

// linePlot draws the series over the two axes, with a legend.
func linePlot(x, y axis, list []series) template.HTML {
	var b strings.Builder
	draw := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	px := func(v float64) float64 { return left + x.place(v)*(width-left-right) }
	py := func(v float64) float64 { return height - underside - y.place(v)*(height-underside-topMargin) }
	draw(`<svg viewBox="0 0 %d %d" role="img">`, width, height)
	for _, v := range x.ticks() {
		draw(`<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/>`, px(v), px(v), topMargin, height-underside)
		draw(`<text class="tick" text-anchor="middle" x="%.1f" y="%d">%s</text>`, px(v), height-underside+16, number(v))
	}
	for _, v := range y.ticks() {
		draw(`<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`, left, width-right, py(v), py(v))
		draw(`<text class="tick" text-anchor="end" x="%d" y="%.1f">%s</text>`, left-8, py(v)+4, y.text(v))
	}
	draw(`<text class="label" text-anchor="middle" x="%d" y="%d">%s</text>`, (left+width-right)/2, height-8, template.HTMLEscapeString(x.label))
	draw(`<text class="label" text-anchor="middle" transform="translate(14 %d) rotate(-90)">%s</text>`,
		(topMargin+height-underside)/2, template.HTMLEscapeString(y.label))
	for i, s := range list {
		line(draw, s, palette[i%len(palette)], px, py)
	}
	draw(`</svg>`)
	return template.HTML(b.String()) + legend(list)
}

func line(draw func(string, ...any), s series, colour string, px, py func(float64) float64) {
	var at []string
	for _, p := range s.points {
		at = append(at, fmt.Sprintf("%.1f,%.1f", px(p[0]), py(p[1])))
	}
	style := `stroke-width="2"`
	if s.fit {
		style = `stroke-width="1" stroke-dasharray="5 4"`
	}
	draw(`<polyline fill="none" stroke="%s" %s stroke-linejoin="round" points="%s"/>`, colour, style, strings.Join(at, " "))
	if s.fit || len(s.points) > 20 {
		return
	}
	for _, p := range s.points {
		draw(`<circle r="3.5" fill="%s" cx="%.1f" cy="%.1f"><title>%s</title></circle>`,
			colour, px(p[0]), py(p[1]), template.HTMLEscapeString(fmt.Sprintf("%s: %s at %s", s.name, number(p[1]), number(p[0]))))
	}
}

func legend(list []series) template.HTML {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.name
	}
	return keys(names)
}

// keys explains the colours, which follow the order of the names.
func keys(names []string) template.HTML {
	var b strings.Builder
	b.WriteString(`<p class="legend">`)
	for i, name := range names {
		fmt.Fprintf(&b, `<span><i style="background:%s"></i>%s</span>`, palette[i%len(palette)], template.HTMLEscapeString(name))
	}
	b.WriteString(`</p>`)
	return template.HTML(b.String())
}

// number is short: three digits that count.
func number(v float64) string {
	switch {
	case v == 0:
		return "0"
	case math.Abs(v) >= 1000:
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// span is a linear axis from zero, or a logarithmic one around the values.
func span(label string, log bool, values []float64) axis {
	a := axis{label: label, log: log, low: math.Inf(1), top: math.Inf(-1)}
	for _, v := range values {
		a.low, a.top = min(a.low, v), max(a.top, v)
	}
	if log {
		a.low, a.top = a.low/1.15, a.top*1.15
		return a
	}
	a.low, a.top = 0, a.top*1.08
	return a
}

// bar is one row of stacked shares.
type bar struct {
	name   string
	shares map[string]float64
}

// barPlot draws rows of stacked shares, the parts in the order of their names.
func barPlot(names []string, bars []bar) template.HTML {
	const rowHeight, start = 34, 150
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img">`, width, len(bars)*rowHeight+6)
	for row, r := range bars {
		y, x := float64(row*rowHeight+4), float64(start)
		fmt.Fprintf(&b, `<text class="tick" text-anchor="end" x="%d" y="%.1f">%s</text>`, start-8, y+17, template.HTMLEscapeString(r.name))
		for i, name := range names {
			w := r.shares[name] * (width - start - right)
			if w <= 0 {
				continue
			}
			fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.1f" height="24" fill="%s"><title>%s %.1f %%</title></rect>`,
				x, y, w, palette[i%len(palette)], template.HTMLEscapeString(name), 100*r.shares[name])
			if w > 34 {
				fmt.Fprintf(&b, `<text class="share" text-anchor="middle" x="%.1f" y="%.1f">%.0f %%</text>`, x+w/2, y+17, 100*r.shares[name])
			}
			x += w
		}
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String()) + keys(names)
}
