package catalog

// Row is a row of the shipped file.
type Row = row

// Shipped returns the rows.
func Shipped() []Row {
	f, err := read(shipped)
	if err != nil {
		panic(err)
	}
	return f.Models
}
