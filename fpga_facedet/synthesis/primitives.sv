// The chip's own cells that the layers name, as black boxes: a reader of SystemVerilog has to know the ports and
// parameters of what it instantiates. Which of them a netlist holds is counted; what they compute is not looked at.

(* blackbox *)
module LUT6_2 #(parameter [63:0]  INIT = '0) (
	input	I0, I1, I2, I3, I4, I5,
	output	O5, O6
);
endmodule : LUT6_2

(* blackbox *)
module DSP48E1 #(
	parameter  A_INPUT = "DIRECT", B_INPUT = "DIRECT", USE_DPORT = "FALSE", USE_MULT = "MULTIPLY", USE_SIMD = "ONE48",
	parameter  AUTORESET_PATDET = "NO_RESET", SEL_MASK = "MASK", SEL_PATTERN = "PATTERN",
	parameter  USE_PATTERN_DETECT = "NO_PATDET",
	parameter [47:0]  MASK = 48'h3FFF_FFFF_FFFF, PATTERN = '0,
	parameter int  ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
	parameter int  CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
	parameter bit  IS_CARRYIN_INVERTED = 0, IS_CLK_INVERTED = 0,
	parameter bit [3:0]  IS_ALUMODE_INVERTED = '0,
	parameter bit [4:0]  IS_INMODE_INVERTED = '0,
	parameter bit [6:0]  IS_OPMODE_INVERTED = '0
)(
	input	CLK, CARRYCASCIN, CARRYIN, MULTSIGNIN,
	input	CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
	input	RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
	input [29:0]  A, ACIN,
	input [17:0]  B, BCIN,
	input [47:0]  C, PCIN,
	input [24:0]  D,
	input [3:0]  ALUMODE,
	input [2:0]  CARRYINSEL,
	input [4:0]  INMODE,
	input [6:0]  OPMODE,
	output [29:0]  ACOUT,
	output [17:0]  BCOUT,
	output [47:0]  P, PCOUT,
	output [3:0]  CARRYOUT,
	output	CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW
);
endmodule : DSP48E1

(* blackbox *)
module DSP48E2 #(
	parameter  AMULTSEL = "A", BMULTSEL = "B", PREADDINSEL = "A", A_INPUT = "DIRECT", B_INPUT = "DIRECT",
	parameter  USE_MULT = "MULTIPLY", USE_SIMD = "ONE48", USE_WIDEXOR = "FALSE", XORSIMD = "XOR24_48_96",
	parameter  AUTORESET_PATDET = "NO_RESET", AUTORESET_PRIORITY = "RESET", SEL_MASK = "MASK",
	parameter  SEL_PATTERN = "PATTERN", USE_PATTERN_DETECT = "NO_PATDET",
	parameter [47:0]  MASK = 48'h3FFF_FFFF_FFFF, PATTERN = '0, RND = '0,
	parameter int  ACASCREG = 1, ADREG = 1, ALUMODEREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, CARRYINREG = 1,
	parameter int  CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
	parameter bit  IS_CARRYIN_INVERTED = 0, IS_CLK_INVERTED = 0, IS_RSTALLCARRYIN_INVERTED = 0,
	parameter bit  IS_RSTALUMODE_INVERTED = 0, IS_RSTA_INVERTED = 0, IS_RSTB_INVERTED = 0, IS_RSTCTRL_INVERTED = 0,
	parameter bit  IS_RSTC_INVERTED = 0, IS_RSTD_INVERTED = 0, IS_RSTINMODE_INVERTED = 0, IS_RSTM_INVERTED = 0,
	parameter bit  IS_RSTP_INVERTED = 0,
	parameter bit [3:0]  IS_ALUMODE_INVERTED = '0,
	parameter bit [4:0]  IS_INMODE_INVERTED = '0,
	parameter bit [8:0]  IS_OPMODE_INVERTED = '0
)(
	input	CLK, CARRYCASCIN, CARRYIN, MULTSIGNIN,
	input	CEA1, CEA2, CEAD, CEALUMODE, CEB1, CEB2, CEC, CECARRYIN, CECTRL, CED, CEINMODE, CEM, CEP,
	input	RSTA, RSTALLCARRYIN, RSTALUMODE, RSTB, RSTC, RSTCTRL, RSTD, RSTINMODE, RSTM, RSTP,
	input [29:0]  A, ACIN,
	input [17:0]  B, BCIN,
	input [47:0]  C, PCIN,
	input [26:0]  D,
	input [3:0]  ALUMODE,
	input [2:0]  CARRYINSEL,
	input [4:0]  INMODE,
	input [8:0]  OPMODE,
	output [29:0]  ACOUT,
	output [17:0]  BCOUT,
	output [47:0]  P, PCOUT,
	output [3:0]  CARRYOUT,
	output [7:0]  XOROUT,
	output	CARRYCASCOUT, MULTSIGNOUT, OVERFLOW, PATTERNBDETECT, PATTERNDETECT, UNDERFLOW
);
endmodule : DSP48E2
