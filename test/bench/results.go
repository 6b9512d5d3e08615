package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// results are what a run has found out: the JSON file.
type results struct {
	Machine machine       `json:"machine"`
	Tables  []tableResult `json:"tables"`
	Links   []link        `json:"links,omitempty"`
	Figures []figure      `json:"figures"`
	Notes   []string      `json:"notes,omitempty"`
}

type tableResult struct {
	Name  string      `json:"name"`
	Title string      `json:"title"`
	Rows  []rowResult `json:"rows"`

	columns []column
}

type rowResult struct {
	Name   string   `json:"name"`
	Rounds []sample `json:"rounds"`
}

// spread is the median of some rounds, and the least and the most.
type spread struct{ median, least, most float64 }

func (r *rowResult) spread(c column) spread {
	values := make([]float64, len(r.Rounds))
	for i := range r.Rounds {
		values[i] = c.value(&r.Rounds[i])
	}
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return spread{}
	}
	return spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// median is the median of a figure of a row, and whether the row was measured.
func (r *results) median(table, row string, c column) (float64, bool) {
	for _, t := range r.Tables {
		for _, measured := range t.Rows {
			if t.Name == table && measured.Name == row && len(measured.Rounds) > 0 {
				return measured.spread(c).median, true
			}
		}
	}
	return 0, false
}

// text is a spread as tables show it; what is 0 throughout was not measured, or is nothing.
func (s spread) text(digits int) string {
	if s.most == 0 {
		return "0"
	}
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, s.median, digits, s.least, digits, s.most)
}

// markdown is a table in Markdown, with columns as wide as they need to be, so that a terminal shows it well too.
func markdown(header []string, rows [][]string) string {
	all := append([][]string{header}, rows...)
	widths := make([]int, len(header))
	for _, cells := range all {
		for i, cell := range cells {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var out strings.Builder
	line := func(cells []string) {
		for i, cell := range cells {
			_, _ = fmt.Fprintf(&out, "| %s%s ", cell, strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
		out.WriteString("|\n")
	}
	line(header)
	for i, width := range widths {
		right := ":"
		if i == 0 {
			right = "-"
		}
		_, _ = fmt.Fprintf(&out, "|%s%s", strings.Repeat("-", width+1), right)
	}
	out.WriteString("|\n")
	for _, cells := range rows {
		line(cells)
	}
	return out.String()
}

func (t *tableResult) markdown() string {
	header := []string{""}
	for _, c := range t.columns {
		header = append(header, c.name)
	}
	var rows [][]string
	for _, r := range t.Rows {
		cells := []string{r.Name}
		for _, c := range t.columns {
			cells = append(cells, r.spread(c).text(c.digits))
		}
		rows = append(rows, cells)
	}
	return "### " + t.Title + "\n\n" + markdown(header, rows)
}

// chart draws the medians of one column as bars, with groups of rows that differ in what stands after "; ".
func (t *tableResult) chart(c column) string {
	const width = 50
	most, names, steps := 0.0, []string{}, map[string][]rowResult{}
	for _, r := range t.Rows {
		most = max(most, r.spread(c).median)
		name, _, _ := strings.Cut(r.Name, "; ")
		if steps[name] == nil {
			names = append(names, name)
		}
		steps[name] = append(steps[name], r)
	}
	var out strings.Builder
	for _, name := range names {
		_, _ = fmt.Fprintf(&out, "%s, %s\n", name, c.name)
		for _, r := range steps[name] {
			_, step, _ := strings.Cut(r.Name, "; ")
			value := r.spread(c).median
			bar := strings.Repeat("█", max(1, int(value/most*width+0.5)))
			_, _ = fmt.Fprintf(&out, "%7s %s %.*f\n", step, bar, c.digits, value)
		}
	}
	return "```text\n" + out.String() + "```\n"
}

// markdown is everything that the page shows of a run.
func (r *results) markdown() string {
	var out strings.Builder
	out.WriteString(r.Machine.markdown())
	for _, note := range r.Notes {
		out.WriteString("\n" + note + "\n")
	}
	out.WriteString("\n### What must hold\n\n" + figuresMarkdown(r.Figures))
	for i := range r.Tables {
		t := &r.Tables[i]
		out.WriteString("\n" + t.markdown())
		if t.Name == tableSizes || t.Name == tableCallers {
			out.WriteString("\n" + t.chart(cpu))
		}
	}
	if len(r.Links) > 0 {
		out.WriteString("\n" + linksMarkdown(r.Links))
	}
	return out.String()
}
