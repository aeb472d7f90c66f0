package discovery

import "strings"

// makers are the names behind the letters that meters print (FLAG ids of the
// DLMS User Association, and what operators print instead of them), as people
// know the makers.
var makers = map[string]string{
	"ABB": "ABB",
	"ACE": "Actaris", // now Itron
	"ACG": "Actaris",
	"ACW": "Actaris",
	"ADN": "Aidon",
	"AID": "Aidon",
	"AMT": "Aquametro",
	"APA": "Apator",
	"APT": "Apator",
	"AXI": "Axioma",
	"BMT": "BMeters",
	"DFS": "Danfoss",
	"DME": "Diehl Metering",
	"DWZ": "Lorenz",
	"DZG": "DZG",
	"EBZ": "eBZ",
	"EFE": "Engelmann",
	"EGM": "Elgama",
	"ELL": "Ellevio",
	"ELS": "Elster",
	"ELV": "Elvaco",
	"EMH": "EMH",
	"EMU": "EMU Electronic",
	"ESO": "ESO",
	"EST": "Sagemcom",
	"ESY": "EasyMeter",
	"FLU": "Fluvius",
	"GWF": "GWF",
	"HAG": "Hager",
	"HYD": "Diehl Metering",
	"ISK": "Iskraemeco",
	"IST": "ista",
	"ITR": "Itron",
	"ITW": "Itron",
	"KAM": "Kamstrup",
	"KFM": "Kaifa",
	"KMP": "Kamstrup",
	"KRO": "Kromschröder",
	"LGB": "Landis+Gyr",
	"LGD": "Landis+Gyr",
	"LGF": "Landis+Gyr",
	"LGZ": "Landis+Gyr",
	"LSE": "Landis+Staefa",
	"LUG": "Landis+Gyr",
	"MAD": "Maddalena",
	"NES": "NES",
	"NZR": "NZR",
	"PAD": "PadMess",
	"QDS": "Qundis",
	"REL": "Relay",
	"SAG": "Sagemcom",
	"SAP": "Diehl Metering", // Sappel
	"SEN": "Sensus",
	"SIE": "Siemens",
	"SLB": "Schlumberger",
	"SON": "Sontex",
	"SPX": "Sensus",
	"SVM": "SVM",
	"TCH": "Techem",
	"XMX": "Landis+Gyr", // a Xemex module in a Landis+Gyr meter
	"ZPA": "ZPA",
	"ZRI": "Zenner",
}

// Maker is the name of the maker behind three letters, whatever their case; what
// is not on the list stays as it is.
func Maker(letters string) string {
	if name, ok := makers[strings.ToUpper(letters)]; ok {
		return name
	}
	return letters
}
